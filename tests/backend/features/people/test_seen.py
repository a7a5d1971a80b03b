"""A network looks at each photo once; what it saw is kept until the photo or the network changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import read_picture, write_picture
from backend.features.people import Network, People, network, seen
from backend.progress import Cancelled, Quiet
from backend.scene import Photo, Workspace
from segwild_addon.protocol.errors import InputError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Sizes of the pictures that a network was asked about."""
    monkeypatch.setattr(network, "SHORT_SIDE", 60)
    sizes: list[tuple[int, ...]] = []
    answer = Network.candidates

    def noted(self: Network, picture: np.ndarray) -> np.ndarray:
        sizes.append(picture.shape)
        return answer(self, picture)

    monkeypatch.setattr(Network, "candidates", noted)
    return sizes


@pytest.fixture
def passed_by(tmp_path: Path) -> Workspace:
    """Three photos; in the second somebody in red stands at the left."""
    made = Workspace.create(tmp_path / "w")
    for number in range(3):
        pixels = np.full((48, 64, 3), 90 + number, np.uint8)
        if number == 1:
            pixels[10:40, 5:20] = (230, 30, 30)
        write_picture(made.picture_file(f"p{number}"), pixels)
    made.write_photos([Photo(f"p{number}", f"p{number}.jpg", 64, 48) for number in range(3)])
    return made


class Followed(Quiet):
    """Remembers phases and notes; cancels after so many steps."""

    def __init__(self, steps: int = 100) -> None:
        super().__init__()
        self.left, self.told = steps, []

    def phase(self, name: str, total: int | None = None) -> None:
        self.told.append((name, total))

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.told.append(note)
        self.left -= steps
        if not self.left:
            raise Cancelled


def test_every_photo_is_looked_at_once(passed_by: Workspace, red_is_a_person: Path, asked: list) -> None:
    progress = Followed()
    people = People(passed_by, red_is_a_person)
    assert not asked
    people.look(passed_by.photos(), progress)
    assert progress.told == [("Looking for passers-by", 3), "p0", "p1", "p2"]
    assert asked == [(48, 64, 3)] * 3
    found = people.candidates("p1")
    assert found.shape == (60, 80)
    assert found[18:44, 11:20].all()
    assert not found[:, 32:].any()
    assert not people.candidates("p0").any()
    again = People(passed_by, red_is_a_person)
    again.look(passed_by.photos(), Quiet())
    assert np.array_equal(again.candidates("p1"), found)
    assert len(asked) == 3


def test_cancelled_it_goes_on_where_it_was(passed_by: Workspace, red_is_a_person: Path, asked: list) -> None:
    with pytest.raises(Cancelled):
        People(passed_by, red_is_a_person).look(passed_by.photos(), Followed(2))
    assert len(asked) == 2
    People(passed_by, red_is_a_person).look(passed_by.photos(), Quiet())
    assert len(asked) == 3


def test_what_is_stale_or_damaged_is_found_anew(
    passed_by: Workspace, red_is_a_person: Path, asked: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = passed_by.photos()
    People(passed_by, red_is_a_person).look(photos, Quiet())
    file = passed_by.picture_file("p0")
    write_picture(file, read_picture(file)[::-1, :40])
    People(passed_by, red_is_a_person).look(photos, Quiet())
    assert asked[3:] == [(48, 40, 3)]
    (passed_by.root / "embeddings" / "people" / "p2.safetensors").write_bytes(b"no tensors")
    People(passed_by, red_is_a_person).look(photos, Quiet())
    assert len(asked) == 5
    other = tmp_path / "other.pth"
    other.write_bytes(red_is_a_person.read_bytes() + b"\0")  # behind an archive's end, which nobody reads
    assert People(passed_by, other).digest != People(passed_by, red_is_a_person).digest
    monkeypatch.setattr(seen, "COME_AND_GO", ("person",))
    People(passed_by, red_is_a_person).look(photos, Quiet())
    assert len(asked) == 8


def test_no_such_file(passed_by: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such checkpoint") as caught:
        People(passed_by, tmp_path / "nowhere.pth")
    assert "segwild doctor" in caught.value.hint
    with pytest.raises(InputError, match="no such checkpoint"):
        People(passed_by, tmp_path)
