"""The objects command."""

from __future__ import annotations

import numpy as np
import pytest

from backend.progress import Quiet
from backend.segment import objects
from backend.stages import objects as stage
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Objects


def command(blobs, *words: str) -> list[str]:
    action, *names = words
    result = stage.run(Objects(blobs.workspace.root, action, tuple(names)), Quiet())
    return [f"{row['id']} {row['name']} {row['gaussians']}" for row in result["objects"]]


def test_list_rename_merge_delete(blobs) -> None:
    for name, rows in (("a", [1, 2]), ("b", [2, 3]), ("c", [9])):
        objects.save(blobs.workspace, name, np.array(rows), np.ones(len(blobs.scene)))
    assert command(blobs, "list") == ["1 a 2", "2 b 2", "3 c 1"]
    assert command(blobs, "rename", "c", "see") == ["1 a 2", "2 b 2", "3 see 1"]
    assert command(blobs, "merge", "a", "b") == ["1 a 3", "3 see 1"]
    assert command(blobs, "delete", "a", "see") == []


@pytest.mark.parametrize("words", [("list", "x"), ("rename", "x"), ("delete",), ("merge", "x")])
def test_the_wrong_number_of_names(blobs, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        command(blobs, *words)
    assert caught.value.code == "bad-option"
    assert caught.value.hint.startswith("Run: segwild objects")
