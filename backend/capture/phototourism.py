"""A Photo Tourism scene's table (.tsv) into which photos take part and which are held out."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from backend.scene.photos import Split
from segwild_addon.protocol.errors import InputError

_COLUMNS = {"filename", "id", "split"}


@dataclass(frozen=True)
class Table:
    """The rows of a .tsv that take part."""

    path: Path
    splits: dict[str, Split]  # file name in images/ -> train or test


def find_table(folder: Path) -> Path | None:
    """The .tsv of a scene whose images/ and sparse/ lie in `folder`: beside them, or beside dense/."""
    for place in (folder, folder.parent) if folder.name == "dense" else (folder,):
        tables = sorted(path for path in place.glob("*.tsv") if _columns(path) >= _COLUMNS)
        if len(tables) > 1:
            raise InputError(
                "tables-ambiguous",
                f"There are {len(tables)} Photo Tourism tables ({', '.join(path.name for path in tables)}): {place}.",
                "Leave only the one that is meant.",
            )
        if tables:
            return tables[0]
    return None


def read_table(path: Path) -> Table:
    """Rows with an empty id are dropped. Raises InputError for a damaged or empty table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        splits: dict[str, Split] = {
            row["filename"].strip(): "test" if (row["split"] or "").strip() == "test" else "train"
            for row in rows
            if (row["id"] or "").strip() and (row["filename"] or "").strip()
        }
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(
            "table-damaged",
            f"The Photo Tourism table cannot be read ({error}): {path}.",
            "It needs tab-separated columns filename, id, split.",
        ) from error
    if not splits:
        raise InputError("table-empty", f"No row of the Photo Tourism table has a filename and an id: {path}.")
    return Table(path, splits)


def _columns(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return {name.strip() for name in file.readline().split("\t")}
    except OSError:
        return set()
