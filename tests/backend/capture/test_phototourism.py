"""Photo Tourism tables: which photos take part, and which are held out."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.capture.phototourism import find_table, read_table
from segwild_addon.protocol.errors import InputError

ROWS = "filename\tid\tsplit\tdataset\na.jpg\t1\ttrain\tx\nb.jpg\t2\ttest\tx\nc.jpg\t\ttrain\tx\n\t4\ttrain\tx\n"


def test_rows_without_id_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "gate.tsv").write_text(ROWS)
    assert read_table(tmp_path / "gate.tsv").splits == {"a.jpg": "train", "b.jpg": "test"}


def test_the_table_lies_beside_the_images_or_beside_dense(tmp_path: Path) -> None:
    dense = tmp_path / "dense"
    dense.mkdir()
    assert find_table(dense) is None
    (tmp_path / "gate.tsv").write_text(ROWS)
    (tmp_path / "other.tsv").write_text("a\tb\n1\t2\n")
    assert find_table(dense) == tmp_path / "gate.tsv"
    assert find_table(tmp_path) == tmp_path / "gate.tsv"
    (tmp_path / "second.tsv").write_text(ROWS)
    with pytest.raises(InputError, match="2 Photo Tourism tables"):
        find_table(tmp_path)


@pytest.mark.parametrize("text", ["filename\tid\tsplit\n", "filename\tsplit\na.jpg\ttrain\n", "\x00\x01"])
def test_tables_that_name_nothing_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_table(tmp_path / "t.tsv")
    assert str(tmp_path / "t.tsv") in caught.value.sentence


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes(b"filename\tid\tsplit\n\xff\xfe\xfd\t1\ttrain\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_table(tmp_path / "t.tsv")
