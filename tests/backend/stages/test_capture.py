"""A folder of photos becomes a workspace whose cameras are where the photos were taken."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.capture.pictures import read_mask, read_picture, resized, write_picture
from backend.progress import Cancelled, Quiet
from backend.scene.transforms import aligned
from backend.scene.workspace import Workspace
from backend.stages.capture import run
from segwild_addon.protocol.errors import InputError, ResourceError
from segwild_addon.protocol.requests import Capture
from tests.backend.stages.rooms import Room, lens_tags, room_cameras, room_picture


class Counted(Quiet):
    """Remembers the phases; `stop_in` cancels at the first step of a phase."""

    def __init__(self, stop_in: str = "-", how: type[BaseException] = Cancelled) -> None:
        super().__init__()
        self.phases: list[str] = []
        self._stop_in, self._how = stop_in, how

    def phase(self, name: str, total: int | None = None) -> None:
        self.phases.append(name)

    def advance(self, steps: int = 1, note: str = "") -> None:
        if self.phases and self.phases[-1].startswith(self._stop_in):
            raise self._how


Captured = tuple[Path, dict, Counted]  # workspace, result, what was said meanwhile


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    folder = tmp_path_factory.mktemp("room")
    cameras = {f"view{row}": camera for row, camera in enumerate(room_cameras(6))}
    for name, camera in cameras.items():
        Image.fromarray(room_picture(camera)).save(folder / f"{name}.jpg", quality=95, exif=lens_tags())
    return Room(folder, cameras)


@pytest.fixture(scope="module")
def mixed(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The room's photos as a person might have them: turned, shrunk, twice, broken, and something else."""
    folder = tmp_path_factory.mktemp("mixed")
    for name in room.cameras:
        shutil.copy(room.folder / f"{name}.jpg", folder)
    turned = lens_tags()
    turned[0x0112] = 6
    picture = Image.fromarray(np.rot90(read_picture(folder / "view1.jpg")))
    picture.save(folder / "view1.jpg", quality=97, exif=turned)
    shrunk = Image.fromarray(resized(read_picture(folder / "view2.jpg"), 320, 240))
    shrunk.save(folder / "view2.jpg", quality=95, exif=lens_tags())
    Image.open(folder / "view3.jpg").convert("L").save(folder / "view3.jpg", quality=97, exif=lens_tags())
    shutil.copy(folder / "view0.jpg", folder / "view0 copy.jpg")
    (folder / "broken.jpg").write_bytes((folder / "view0.jpg").read_bytes()[:3000])
    (folder / "notes.txt").write_text("Tuesday")
    blocks = np.random.default_rng(0).integers(0, 255, (15, 20, 3), dtype=np.uint8)
    write_picture(folder / "elsewhere.png", blocks.repeat(20, axis=0).repeat(20, axis=1))
    return folder


@pytest.fixture(scope="module")
def captured(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Captured:
    out, progress = tmp_path_factory.mktemp("scene") / "room.segwild", Counted()
    return out, run(Capture(mixed, out, hold_out=2), progress), progress


def test_cameras_are_where_the_photos_were_taken(room: Room, captured: Captured) -> None:
    workspace = Workspace.open(captured[0])
    photos = {photo.name: photo for photo in workspace.used_photos()}
    assert photos.keys() == room.cameras.keys()
    truth = np.array([room.cameras[name].centre for name in photos])
    centres = np.array([photo.camera.centre for photo in photos.values()])
    fit = aligned(truth, centres)
    assert np.linalg.norm(fit.points(centres) - truth, axis=1).max() < 0.06  # of a path 4.6 long
    for name, photo in photos.items():
        rotation = fit.camera(photo.camera).cam_from_world[:3, :3]
        assert np.allclose(rotation, room.cameras[name].cam_from_world[:3, :3], atol=0.01)
        shrunk = 320 / 400 if name == "view2" else 1
        assert photo.camera.fx == pytest.approx(380 * shrunk, rel=0.01)
        assert photo.camera.fx == pytest.approx(photo.camera.fy, rel=1e-9)
    # The truth has z up, and so has the scene.
    assert fit.rotation[2, 2] > 0.95


def test_every_photo_found_is_listed(captured: Captured) -> None:
    out, result, progress = captured
    left_out = {photo.name: photo.excluded for photo in Workspace.open(out).photos() if not photo.used}
    assert left_out.keys() == {"view0 copy", "broken", "elsewhere"}
    assert left_out["view0 copy"] == "it is an exact duplicate of view0.jpg"
    assert left_out["elsewhere"] == "no overlap with the others found"
    assert "damaged" in left_out["broken"]
    assert {row["file"] for row in result["left_out"]} >= {"broken.jpg", "elsewhere.png"}
    assert (result["photos"], result["held_out"]) == (6, 2)
    assert {warned.code for warned in progress.warnings} == {
        "other-files",
        "photos-left-out",
        "photos-without-camera",
    }
    assert not (out / ".capture").exists()


@pytest.mark.slow
def test_photos_of_another_room_are_told_apart(room: Room, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(room.folder, photos)
    for row, camera in enumerate(room_cameras(6)[:3]):
        Image.fromarray(room_picture(camera, 3)).save(photos / f"other{row}.jpg", quality=95, exif=lens_tags())
    with pytest.raises(Cancelled):
        run(Capture(photos, tmp_path / "out"), Counted("Writing"))
    progress = Counted()
    result = run(Capture(photos, tmp_path / "out"), progress)
    assert "Placing cameras" not in progress.phases  # what was found before the stop knows the parts too
    assert result["photos"] == 6
    reasons = {row["file"]: row["reason"] for row in result["left_out"]}
    others = [f"other{row}.jpg" for row in range(3)]
    apart = "belongs to another part of the place (3 photos), which could not be connected with this one"
    assert reasons == dict.fromkeys(others, apart)
    (warned,) = [warned for warned in progress.warnings if warned.code == "other-parts"]
    assert sorted(warned.items) == others
    assert warned.sentence.startswith("3 of 9 photos")
    assert "Add photos that show both" in warned.sentence


def test_points_project_onto_their_observations(room: Room, captured: Captured) -> None:
    workspace = Workspace.open(captured[0])
    points, photos = workspace.points(), workspace.photos()
    assert captured[1]["points"] == len(points.positions) > 500
    assert captured[1]["mean_reprojection_error_px"] < 1
    for row, photo in enumerate(photos):
        if not photo.used:
            assert not (points.seen_photo == row).any()
            continue
        seen = points.seen_point[points.seen_photo == row]
        pixels, depths = photo.camera.project(points.positions[seen])
        assert len(seen) > 100
        assert (depths > 0).all()
        inside = ((pixels >= 0) & (pixels < (photo.camera.width, photo.camera.height))).all(axis=1)
        assert inside.mean() > 0.97
        # The picture there has the point's colour (view3 is grey).
        if photo.name != "view3":
            picture = read_picture(workspace.picture_file(photo.name))
            at = pixels[inside].astype(int)
            difference = picture[at[:, 1], at[:, 0]].astype(float) - points.colors[seen[inside]]
            assert np.median(np.abs(difference)) < 30


def test_pictures_are_upright_and_undistorted(room: Room, captured: Captured) -> None:
    workspace = Workspace.open(captured[0])
    for photo in workspace.used_photos():
        picture = read_picture(workspace.picture_file(photo.name))
        assert picture.shape == (photo.camera.height, photo.camera.width, 3)
        assert photo.width > photo.height
        lens = workspace.lens(photo)
        if lens is not None:
            middle = np.array([photo.camera.width / 2, photo.camera.height / 2])
            assert np.allclose(lens.to_picture(lens.to_photo(middle)), middle, atol=0.1)
    assert {path.stem for path in (captured[0] / "photos").iterdir()} == set(room.cameras)


def test_running_again_returns_at_once(mixed: Path, captured: Captured) -> None:
    progress = Counted()
    assert run(Capture(mixed, captured[0], hold_out=2), progress) == captured[1]
    assert progress.phases == []


def test_what_a_capture_left_that_was_killed_while_it_tidied_up_goes(mixed: Path, captured: Captured) -> None:
    left = captured[0] / ".capture" / "0" / "1000"
    left.mkdir(parents=True)
    (left / "found.json").write_text("{}")
    run(Capture(mixed, captured[0], hold_out=2), Quiet())
    assert not (captured[0] / ".capture").exists()


def test_finished_gaussians_are_never_put_under_other_cameras(mixed: Path, captured: Captured, tmp_path: Path) -> None:
    out = tmp_path / "taken"
    shutil.copytree(captured[0], out)
    (out / "splats").mkdir()
    (out / "splats" / "base.safetensors").write_bytes(b"precious")
    assert run(Capture(mixed, out, hold_out=2, preset="quick"), Quiet()) == captured[1]
    with pytest.raises(InputError, match="already holds Gaussians") as caught:
        run(Capture(mixed, out, hold_out=0), Quiet())
    assert caught.value.code == "workspace-taken"
    assert (out / "splats" / "base.safetensors").read_bytes() == b"precious"


@pytest.fixture(scope="module")
def colmap(captured: Captured, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace's own pictures and COLMAP model, as another program would see them."""
    folder = tmp_path_factory.mktemp("colmap")
    shutil.copytree(captured[0] / "photos", folder / "images")
    shutil.copytree(captured[0] / "cameras", folder / "sparse", ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


def test_the_workspace_holds_a_colmap_model_of_its_pictures(captured: Captured, colmap: Path, tmp_path: Path) -> None:
    result = run(Capture(colmap, tmp_path / "again"), Quiet())
    assert (result["photos"], result["points"]) == (6, captured[1]["points"])
    assert result["mean_reprojection_error_px"] == pytest.approx(captured[1]["mean_reprojection_error_px"], abs=0.1)
    first, again = Workspace.open(captured[0]), Workspace.open(tmp_path / "again")
    for photo in again.used_photos():
        before = first.photo(photo.name).camera
        assert np.allclose(photo.camera.cam_from_world, before.cam_from_world, atol=1e-6)
        assert (photo.camera.fx, photo.camera.width) == pytest.approx((before.fx, before.width))
        assert again.lens(photo) is None
    assert np.allclose(again.points().positions, first.points().positions, atol=1e-4)


def test_scaled_copies_scale_their_cameras(captured: Captured, colmap: Path, tmp_path: Path) -> None:
    shutil.copytree(colmap, tmp_path / "scene")
    photo = tmp_path / "scene" / "images" / "view4.jpg"
    height, width = read_picture(photo).shape[:2]
    write_picture(photo, resized(read_picture(photo), width // 2, height // 2))
    write_picture(tmp_path / "scene" / "images" / "view5.jpg", np.zeros((500, 200, 3), np.uint8))
    (tmp_path / "scene" / "images" / "view0.jpg").unlink()
    write_picture(tmp_path / "scene" / "images" / "new.jpg", np.zeros((50, 60, 3), np.uint8))
    progress = Quiet()
    result = run(Capture(tmp_path / "scene", tmp_path / "out"), progress)
    assert result["photos"] == 4
    reasons = {row["file"]: row["reason"] for row in result["left_out"]}
    assert "no scaled copy" in reasons["view5.jpg"]
    assert "has no camera" in reasons["new.jpg"]
    assert ("cameras-scaled", ("view4",)) in [(warned.code, warned.items) for warned in progress.warnings]
    camera = Workspace.open(tmp_path / "out").photo("view4").camera
    before = Workspace.open(captured[0]).photo("view4").camera
    assert camera.width == width // 2
    assert camera.fx == pytest.approx(before.fx * (width // 2) / before.width)


def test_where_a_photo_is_transparent_is_kept_beside_it(colmap: Path, tmp_path: Path) -> None:
    shutil.copytree(colmap, tmp_path / "scene")
    photo = tmp_path / "scene" / "images" / "view4.jpg"
    picture = read_picture(photo)
    alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
    alpha[:, :100] = 0
    Image.fromarray(np.concatenate([picture, alpha], 2)).save(photo, "PNG")
    run(Capture(tmp_path / "scene", tmp_path / "out"), Quiet())
    made = Workspace.open(tmp_path / "out")
    camera = made.photo("view4").camera
    clear = read_mask(made.clear_file("view4"), camera.width, camera.height)
    lens = made.lens(made.photo("view4"))
    across = camera.pixel_centres()[..., 0] if lens is None else lens.to_photo(camera.pixel_centres())[..., 0]
    assert np.mean(clear != (across < 100)) < 0.01
    assert not read_picture(made.picture_file("view4"))[clear].any(axis=-1).mean() > 0.05
    assert not made.clear_file("view3").exists()
    write_picture(photo, picture)
    run(Capture(tmp_path / "scene", tmp_path / "out", preset="full"), Quiet())
    assert not made.clear_file("view4").exists()


def test_photo_tourism_tables_decide_the_split(colmap: Path, tmp_path: Path) -> None:
    shutil.copytree(colmap, tmp_path / "scene" / "dense")
    table = tmp_path / "scene" / "gate.tsv"
    rows = ["filename\tid\tsplit\tdataset", *(f"view{n}.jpg\t{n + 1}\ttrain\tgate" for n in range(4))]
    table.write_text(
        "\n".join([*rows, "view4.jpg\t9\ttest\tgate", "view5.jpg\t\ttrain\tgate", "gone.jpg\t7\ttest\tgate"])
    )
    progress = Quiet()
    result = run(Capture(tmp_path / "scene", tmp_path / "out"), progress)
    assert (result["photos"], result["held_out"]) == (5, 1)
    assert Workspace.open(tmp_path / "out").photo("view4").split == "test"
    assert [row["file"] for row in result["left_out"]] == ["view5.jpg"]
    assert ("photos-missing", ("gone.jpg",)) in [(warned.code, warned.items) for warned in progress.warnings]
    table.write_text("filename\tid\tsplit\tdataset\ngone.jpg\t7\ttest\tgate\n")
    with pytest.raises(InputError, match="None of the 1 photos") as caught:
        run(Capture(tmp_path / "scene", tmp_path / "out2"), Quiet())
    assert caught.value.code == "table-names-nothing"


def test_every_eighth_photo_is_held_out_of_many(colmap: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two must stay"):
        run(Capture(colmap, tmp_path / "out", hold_out=5), Quiet())
    with pytest.raises(InputError, match="hold out -2"):
        run(Capture(colmap, tmp_path / "out", hold_out=-2), Quiet())
    assert run(Capture(colmap, tmp_path / "out", hold_out=3), Quiet())["held_out"] == 3
    assert run(Capture(colmap, tmp_path / "out", hold_out=-1), Quiet())["held_out"] == 0


def test_work_cut_short_continues(colmap: Path, room: Room, tmp_path: Path) -> None:
    for phase, how in (("Matching", Cancelled), ("Writing", Cancelled), ("Writing", KeyboardInterrupt)):
        with pytest.raises(how):
            run(Capture(room.folder, tmp_path / "out"), Counted(phase, how))
        assert Workspace.open(tmp_path / "out").made("capture") is None
    with pytest.raises(InputError, match="Cannot hold out 5 of 6"):
        run(Capture(room.folder, tmp_path / "out", hold_out=5), Counted())
    progress = Counted()
    assert run(Capture(room.folder, tmp_path / "out"), progress)["photos"] == 6
    assert "Placing cameras" not in progress.phases  # they were found before the second stop
    assert not (tmp_path / "out" / ".capture").exists()


def test_a_misspelt_name_is_told_before_the_work(room: Room, tmp_path: Path) -> None:
    progress = Counted()
    with pytest.raises(InputError, match="No photo is called 'veiw1'"):
        run(Capture(room.folder, tmp_path / "out", test=("view0", "veiw1")), progress)
    assert not progress.phases
    assert not (tmp_path / "out").exists()


def test_photos_whose_names_are_no_text_are_used(room: Room, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(room.folder, photos)
    file = os.fsdecode(b"vue \xe9.jpg")
    try:
        (photos / "view3.jpg").rename(photos / file)
    except OSError:
        pytest.skip("needs a file system that keeps names as bytes")
    assert run(Capture(photos, tmp_path / "out"), Quiet())["photos"] == 6
    photo = Workspace.open(tmp_path / "out").photo("vue \ufffd")
    assert photo.file == file
    assert (tmp_path / "out" / "photos" / "vue \ufffd.jpg").exists()


def test_too_little_is_said_in_one_sentence(tmp_path: Path, room: Room) -> None:
    with pytest.raises(InputError, match="no such folder"):
        run(Capture(tmp_path / "none", tmp_path / "out"), Quiet())
    assert not (tmp_path / "out").exists()
    single = tmp_path / "single"
    single.mkdir()
    shutil.copy(room.folder / "view0.jpg", single)
    with pytest.raises(InputError, match="at least two photos, 1 of 1"):
        run(Capture(single, tmp_path / "out"), Quiet())
    noise = np.random.default_rng(5).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    write_picture(single / "noise.png", noise)
    with pytest.raises(InputError, match="No cameras could be found: 0 of 2") as caught:
        run(Capture(single, tmp_path / "out"), Quiet())
    assert caught.value.code == "no-overlap"
    assert not (tmp_path / "out" / ".capture").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="this is a file"):
        run(Capture(single, tmp_path / "file"), Quiet())
    with pytest.raises(InputError, match="not a SegWild workspace"):
        run(Capture(single, single), Quiet())


def test_a_full_disk_is_said_so(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(ResourceError, match="disk is full"):
        run(Capture(room.folder, tmp_path / "out"), Quiet())


@pytest.mark.slow
@pytest.mark.parametrize(("scene", "count"), [("kermit", 11), ("sacre_coeur", 10)])
@pytest.mark.parametrize("preset", ["quick", "standard"])
def test_every_real_photo_gets_a_camera(test_data: Path, tmp_path: Path, scene: str, count: int, preset: str) -> None:
    result = run(Capture(test_data / scene / "images", tmp_path / "out", preset=preset), Quiet())
    assert (result["photos"], result["left_out"]) == (count, [])
    assert result["mean_reprojection_error_px"] < 1
    assert result["points"] > 300


@pytest.mark.slow
def test_a_real_model_agrees_with_its_photos(test_data: Path, tmp_path: Path) -> None:
    result = run(Capture(test_data / "statue", tmp_path / "out"), Quiet())
    assert (result["photos"], result["held_out"], result["points"]) == (52, 7, 8400)
    assert result["mean_reprojection_error_px"] == pytest.approx(0.671, abs=0.01)
