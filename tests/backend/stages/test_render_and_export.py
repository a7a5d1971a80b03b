"""Pictures and files of a scene: what is asked for is there, with its look, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from plyfile import PlyData

from backend.capture.pictures import read_picture, write_picture
from backend.progress import Quiet
from backend.segment import objects
from backend.segment.shown import Shown, draw
from backend.stages import appearance, export, lift, render
from backend.train.appearance import Appearance, Look, initial_shared, lit
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Appearance as SetLook
from segwild_addon.protocol.requests import Export, Lift, Render


@pytest.fixture
def lit_blobs(blobs):
    """The blobs with two objects and a look for each of two photos."""
    for name, label in (("red", blobs.red), ("blue", blobs.blue)):
        objects.save(blobs.workspace, name, blobs.labels == label, np.ones(len(blobs.labels)))
    shared = initial_shared(2, 2, 0)
    shared["embeddings"] = torch.eye(2)
    shared["gain"][0] = -0.5 * torch.eye(3)  # the first photo is dark
    shared["offset"][1, 2] = 0.3  # the second one blue
    shared["skies"][0, 2] = 1.5  # under a blue sky, the first
    response = torch.zeros(len(blobs.labels), 3, 2)
    Appearance(("a0", "a1"), shared, response).save(blobs.workspace)
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


@pytest.mark.parametrize("path", ["orbit", "interpolate"])
def test_paths_have_as_many_frames_as_asked(lit_blobs, tmp_path, path) -> None:
    result = render.run(Render(lit_blobs.workspace.root, tmp_path, path=path, frames=3, long_side=64), Quiet())
    assert result["pictures"] == 3


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
    neutral = lit(*(torch.zeros(1, 1, 3), torch.zeros(1, 3, 3), torch.zeros(1, 3, 2)), {}, None)
    assert torch.equal(neutral[0], torch.zeros(1, 1, 3))


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
