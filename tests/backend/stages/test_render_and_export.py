"""Pictures and files of a scene: what is asked for is there, with its look, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from plyfile import PlyData

from backend.capture.pictures import read_picture, write_picture
from backend.formats.ply import read_ply
from backend.progress import Quiet
from backend.render import rasterize
from backend.scene.gaussians import FIELDS
from backend.segment import objects
from backend.segment.shown import Shown, draw, look_to_json
from backend.stages import appearance, export, lift, render
from backend.train.appearance import Appearance, Look, initial_shared
from backend.train.mlp import MlpAppearance
from backend.train.relighting import LinearAppearance
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Appearance as SetLook
from segwild_addon.protocol.requests import Export, Lift, Render


@pytest.fixture
def lit_blobs(blobs):
    """The blobs with two objects and a look for each of two photos."""
    for name, label in (("red", blobs.red), ("blue", blobs.blue)):
        objects.save(blobs.workspace, name, blobs.labels == label, np.ones(len(blobs.labels)))
    kind = LinearAppearance(2)
    shared = initial_shared(kind, 2, 0)
    shared["embeddings"] = torch.eye(2)
    shared["gain"][0] = -0.5 * torch.eye(3)  # the first photo is dark
    shared["offset"][1, 2] = 0.3  # the second one blue
    shared["skies"][0, 2] = 1.5  # under a blue sky, the first
    Appearance(("a0", "a1"), kind, shared, kind.initial_rows(len(blobs.labels))).save(blobs.workspace)
    return blobs


@pytest.fixture(params=[LinearAppearance(3, degree=1), MlpAppearance(3, 4, 8)], ids=str)
def shining_blobs(request, blobs):
    """The blobs with harmonics of degree 2, and looks that change them row by row."""
    kind, generator = request.param, torch.Generator().manual_seed(5)
    harmonics = 0.1 * torch.randn(len(blobs.labels), 8, 3, generator=generator)
    replace(blobs.scene, shN=harmonics.numpy()).save(blobs.workspace.splats)
    values = kind.initial_rows(len(blobs.labels)), initial_shared(kind, 2, 0)
    own, shared = (
        {name: value + 0.3 * torch.randn(value.shape, generator=generator) for name, value in part.items()}
        for part in values
    )
    Appearance(("a0", "a1"), kind, shared, own).save(blobs.workspace)
    objects.save(blobs.workspace, "red", blobs.labels == blobs.red, np.ones(len(blobs.labels)))
    return blobs


def rendered(blobs, out, **options):
    request = Render(blobs.workspace.root, out, view=("a0",), long_side=200, **options)
    return [read_picture(path) for path in render.run(request, Quiet())["files"]]


def test_one_object_alone_leaves_the_others_out(lit_blobs, tmp_path) -> None:
    (whole,) = rendered(lit_blobs, tmp_path / "a", look="neutral")
    (alone,) = rendered(lit_blobs, tmp_path / "b", only="red", look="neutral")
    (rest,) = rendered(lit_blobs, tmp_path / "c", without="red", look="neutral")
    reddish = [((p[..., 0].astype(int) - p[..., 2]) > 60).sum() for p in (whole, alone, rest)]
    bluish = [((p[..., 2].astype(int) - p[..., 0]) > 60).sum() for p in (whole, alone, rest)]
    assert reddish[0] > 50
    assert reddish[1] > 50
    assert reddish[2] == 0
    assert bluish[1] == 0 < bluish[2]


def test_every_channel_is_a_picture(lit_blobs, tmp_path) -> None:
    lift.run(Lift(lit_blobs.workspace.root), Quiet())
    pictures = rendered(lit_blobs, tmp_path, channels="rgb,depth,alpha,object,features")
    assert len(pictures) == 5
    assert all(picture.shape == pictures[0].shape and picture.std() > 1 for picture in pictures)


def test_photos_that_were_held_out_are_rendered_in_neutral_light(lit_blobs, tmp_path) -> None:
    root, photos, progress = lit_blobs.workspace.root, ("a4", "a0", "a2"), Quiet()
    asked = Render(root, tmp_path / "own", view=photos, long_side=100, look="own")
    own = [read_picture(path) for path in render.run(asked, progress)["files"]]
    neutral, first = (
        [read_picture(path) for path in render.run(replace(asked, out=tmp_path / look, look=look), Quiet())["files"]]
        for look in ("neutral", "a0")
    )
    assert [warning.items for warning in progress.warnings] == [("a4", "a2")]
    for place, expected in enumerate((neutral, first, neutral)):
        assert np.array_equal(own[place], expected[place])
    assert not np.array_equal(own[1], neutral[1])
    lit_blobs.workspace.appearance.unlink()
    with pytest.raises(InputError, match="no photo looks"):
        render.run(asked, Quiet())


def test_what_frames_share_is_made_once(lit_blobs, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is what it was: pictures of several frames and channels are those of each alone."""
    lift.run(Lift(lit_blobs.workspace.root), Quiet())
    made: list[str] = []

    def counted(owner: object, name: str) -> None:
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *words, **more: made.append(name) or real(*words, **more))

    counted(render, "principal_colors")
    counted(render.objects, "labels")
    counted(Appearance, "baked")
    channels = ("rgb", "object", "depth", "features")
    asked = Render(lit_blobs.workspace.root, tmp_path, view=("a0", "a1"), long_side=100, look="a1")
    together = render.run(replace(asked, channels=",".join(channels)), Quiet())["files"]
    assert sorted(made) == ["baked", "baked", "labels", "principal_colors"]
    with pytest.raises(InputError, match="dino"):  # and not the colours in their place
        render.run(replace(asked, channels="features", features="dino"), Quiet())
    expected = {path: read_picture(path) for path in together}
    for view in asked.view:
        for channel in channels:
            (file,) = render.run(replace(asked, view=(view,), channels=channel), Quiet())["files"]
            assert np.array_equal(read_picture(file), expected[file])


@pytest.mark.parametrize("path", ["orbit", "interpolate"])
def test_paths_have_as_many_frames_as_asked(lit_blobs, tmp_path, path) -> None:
    result = render.run(Render(lit_blobs.workspace.root, tmp_path, path=path, frames=3, long_side=64), Quiet())
    assert result["pictures"] == 3


def test_there_is_no_orbit_around_nothing(lit_blobs, tmp_path) -> None:
    everything = np.ones(len(lit_blobs.labels))
    objects.save(lit_blobs.workspace, "all", everything > 0, everything)
    with pytest.raises(InputError, match="Nothing is left"):
        render.run(Render(lit_blobs.workspace.root, tmp_path, path="orbit", without="all"), Quiet())


@pytest.mark.parametrize(
    "options", [{"channels": "rgb,smell"}, {"only": "nobody"}, {"look": "nobody"}, {"long_side": 3}]
)
def test_bad_render_options_are_refused(lit_blobs, tmp_path, options) -> None:
    with pytest.raises(InputError):
        render.run(replace(Render(lit_blobs.workspace.root, tmp_path, view=("a0",)), **options), Quiet())


def test_looks_bake_to_what_the_formula_says(lit_blobs) -> None:
    shown = Shown.open(lit_blobs.workspace)
    for look in (Look("a0"), Look("a0", "a1", 0.3), Look("a1", strength=2.0), Look()):
        embedding = shown.appearance.embedding(look)[:2]  # the rest is the sky's
        baked = shown.baked(look)
        change = torch.tensordot(embedding, shown.appearance.shared["gain"], 1).numpy()
        offset = (embedding @ shown.appearance.shared["offset"]).numpy()
        before = 0.28209479177387814 * shown.gaussians.sh0[:, 0] + 0.5
        after = 0.28209479177387814 * baked.sh0[:, 0] + 0.5
        assert np.allclose(after, before @ (np.eye(3) + change).T + offset, atol=1e-5)


def test_an_objects_look_changes_only_its_rows(lit_blobs) -> None:
    root = lit_blobs.workspace.root
    appearance.run(SetLook(root, object="red", from_="a0"), Quiet())
    shown = Shown.open(lit_blobs.workspace)
    changed = np.abs(shown.baked().sh0 - shown.gaussians.sh0).max((1, 2)) > 1e-6
    assert np.array_equal(changed, lit_blobs.labels == lit_blobs.red)
    appearance.run(SetLook(root, from_="a1", strength=0.5), Quiet())
    both = np.abs(Shown.open(lit_blobs.workspace).baked().sh0 - shown.gaussians.sh0).max((1, 2)) > 1e-6
    assert both.all()


def test_looks_out_of_range_or_unknown_are_refused(lit_blobs) -> None:
    root = lit_blobs.workspace.root
    for options in ({"from_": "zz"}, {"from_": "a0", "mix": 2.0}, {"from_": "a0", "strength": 3.0}, {"to": "a1"}):
        with pytest.raises(InputError):
            appearance.run(SetLook(root, **options), Quiet())
    assert "look" not in lit_blobs.workspace.scene()


def test_the_look_of_a_photo_that_was_not_trained_on_is_learned(lit_blobs) -> None:
    root, workspace = lit_blobs.workspace.root, lit_blobs.workspace
    shown, photo = Shown.open(workspace), workspace.photo("a4")
    with pytest.raises(InputError, match="no look of its own"):
        appearance.run(SetLook(root, from_="a4"), Quiet())
    seen = draw(shown.baked(Look("a0")), photo.camera, shown.sky(photo.camera, Look("a0")))[0]
    write_picture(workspace.picture_file("a4"), seen)
    before = workspace.splats.read_bytes()
    assert appearance.run(SetLook(root, learn=("a4",)), Quiet()) == {"learned": ["a4"]}
    assert "look" not in workspace.scene()
    assert workspace.splats.read_bytes() == before
    appearance.run(SetLook(root, from_="a4"), Quiet())
    again = Shown.open(workspace)
    assert again.appearance.names == (*shown.appearance.names, "a4")
    found = draw(again.baked(), photo.camera, again.sky(photo.camera))[0]
    neutral = draw(again.baked(Look()), photo.camera, again.sky(photo.camera, Look()))[0]

    def off(picture: np.ndarray) -> float:
        return float(np.abs(picture.astype(float) - seen).mean())

    assert off(found) < 0.25 * off(neutral)
    for name in shown.appearance.names:  # those that were there are what they were
        assert torch.equal(again.appearance.embedding(Look(name)), shown.appearance.embedding(Look(name)))
    with pytest.raises(InputError, match="No photo is called"):
        appearance.run(SetLook(root, learn=("a4", "zz")), Quiet())


def test_bars_around_a_photo_have_no_part_in_its_look(lit_blobs) -> None:
    workspace = lit_blobs.workspace
    shown, photo = Shown.open(workspace), workspace.photo("a4")
    seen = draw(shown.baked(Look("a0")), photo.camera, shown.sky(photo.camera, Look("a0")))[0]
    seen = seen + np.random.default_rng(0).integers(0, 8, seen.shape, dtype=np.uint8)
    inside = slice(seen.shape[0] // 5, -(seen.shape[0] // 5))
    letterboxed = np.zeros_like(seen)
    letterboxed[inside] = seen[inside]
    off = []
    for picture in (seen, letterboxed):
        write_picture(workspace.picture_file("a4"), picture)
        appearance.run(SetLook(workspace.root, learn=("a4",)), Quiet())
        again = Shown.open(workspace)
        found = draw(again.baked(Look("a4")), photo.camera, again.sky(photo.camera, Look("a4")))[0]
        off.append(float(np.abs(found.astype(float) - seen)[inside].mean()))
    assert off[1] < 1.2 * off[0] + 1


def test_export_holds_exactly_the_object_in_its_look(lit_blobs, tmp_path) -> None:
    file = tmp_path / "red.ply"
    export.run(Export(lit_blobs.workspace.root, file, object="red", look="a0"), Quiet())
    vertex = PlyData.read(file)["vertex"]
    wanted = Shown.open(lit_blobs.workspace).baked(Look("a0")).take(lit_blobs.labels == lit_blobs.red)
    assert vertex.count == len(wanted)
    dc = np.stack([vertex[f"f_dc_{channel}"] for channel in range(3)], 1)
    assert np.array_equal(dc, wanted.sh0[:, 0])
    with pytest.raises(InputError):
        export.run(Export(lit_blobs.workspace.root, tmp_path / "a.obj"), Quiet())


@pytest.mark.parametrize("look", [Look("a0"), Look("a1", strength=1.7), Look("a0", "a1", 0.3, 0.8)], ids=str)
def test_a_file_shows_what_the_model_shows(shining_blobs, tmp_path, look: Look) -> None:
    """Every light bakes to plain harmonics: the exported file is drawn as the rows are with the light left to them."""
    workspace, file = shining_blobs.workspace, tmp_path / "scene.ply"
    workspace.update_scene(look=look_to_json(look))
    export.run(Export(workspace.root, file), Quiet())
    plain = read_ply(file, Quiet())
    shown = Shown.open(workspace)
    trained, camera = shown.appearance, shining_blobs.photo("a2").camera
    assert trained is not None
    rows = {name: torch.from_numpy(getattr(shown.gaussians, name)) for name in FIELDS}
    live = rasterize(
        **rows, view=camera, light=trained.kind.light(trained.rows, trained.shared, trained.embedding(look))
    ).image
    baked = rasterize(**{name: torch.from_numpy(getattr(plain, name)) for name in FIELDS}, view=camera).image
    neutral = rasterize(**rows, view=camera).image
    assert (live - baked).abs().max() < 1e-5
    assert (live - neutral).abs().max() > 0.05


def test_a_look_of_one_object_leaves_all_other_rows_as_they_are(shining_blobs) -> None:
    root, red = shining_blobs.workspace.root, shining_blobs.labels == shining_blobs.red
    appearance.run(SetLook(root, from_="a1"), Quiet())
    before = Shown.open(shining_blobs.workspace).baked()
    appearance.run(SetLook(root, object="red", from_="a0"), Quiet())
    after = Shown.open(shining_blobs.workspace).baked()
    whole = Shown.open(shining_blobs.workspace).baked(Look("a0"))
    for name in ("sh0", "shN"):
        one, other = getattr(before, name), getattr(after, name)
        assert np.allclose(other[red], getattr(whole, name)[red], atol=1e-6)
        assert np.array_equal(one[~red], other[~red])  # bit for bit
        assert (np.abs(one[red] - other[red]).max((1, 2)) > 1e-4).all()


def test_a_light_that_changes_harmonics_is_learned_from_a_photo(shining_blobs) -> None:
    workspace = shining_blobs.workspace
    shown, photo = Shown.open(workspace), workspace.photo("a4")
    seen = draw(shown.baked(Look("a0")), photo.camera, shown.sky(photo.camera, Look("a0")))[0]
    write_picture(workspace.picture_file("a4"), seen)
    appearance.run(SetLook(workspace.root, learn=("a4",)), Quiet())
    again, look = Shown.open(workspace), Look("a4")
    found, neutral = (
        draw(again.baked(each), photo.camera, again.sky(photo.camera, each))[0] for each in (look, Look())
    )
    assert np.abs(found.astype(float) - seen).mean() < 0.25 * np.abs(neutral.astype(float) - seen).mean()
