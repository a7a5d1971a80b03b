"""A small DINO from its weights file: patches as the formulae of a vision transformer say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.features import Lifted
from backend.features.dino import VARIABLE, Dino, find_checkpoint, open_network
from backend.features.sam.checkpoint import VARIABLE as SAM_VARIABLE
from backend.progress import Quiet
from backend.stages import doctor, lift
from segwild_addon.protocol.errors import InputError, SetupError
from segwild_addon.protocol.requests import NETWORK_WEIGHTS, Doctor, Lift

WIDTH, DEPTH, PATCH, SIDE = 128, 2, 14, 4


def tensors(*, registers: int = 0, scaled: bool = True, chunked: bool = False) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(4)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + SIDE**2, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    if registers:
        shapes["register_tokens"] = (1, registers, WIDTH)
    if scaled:
        shapes["mask_token"] = (1, WIDTH)
    for number in range(DEPTH):
        block = f"blocks.{number}." if not chunked else f"blocks.0.{number}."
        for name, rows, columns in (
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", 4 * WIDTH, WIDTH),
            ("mlp.fc2", WIDTH, 4 * WIDTH),
        ):
            shapes |= {f"{block}{name}.weight": (rows, columns), f"{block}{name}.bias": (rows,)}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[block + name] = (WIDTH,)
        if scaled:
            shapes |= {f"{block}ls1.gamma": (WIDTH,), f"{block}ls2.gamma": (WIDTH,)}
    return {name: 0.2 * torch.randn(shape, generator=random) for name, shape in shapes.items()}


def written_out(weights: dict[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """The transformer in float64, head by head, with no layer of torch's."""
    w = {name: value.double() for name, value in weights.items()}

    def normal(x: torch.Tensor, name: str) -> torch.Tensor:
        deviation = (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        return (x - x.mean(-1, keepdim=True)) / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    squares = pixels.double().unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)  # (3, h, w, P, P)
    squares = squares.permute(1, 2, 0, 3, 4).reshape(-1, 3 * PATCH**2)
    x = squares @ w["patch_embed.proj.weight"].reshape(WIDTH, -1).T + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"][0], x]) + w["pos_embed"][0]
    registers = w.get("register_tokens", torch.zeros(1, 0, WIDTH, dtype=torch.float64))[0]
    x = torch.cat([x[:1], registers, x[1:]])
    for number in range(DEPTH):
        block = f"blocks.{number}."
        q, k, v = linear(normal(x, f"{block}norm1"), f"{block}attn.qkv").chunk(3, -1)
        heads = []
        for first in range(0, WIDTH, 64):
            part = slice(first, first + 64)
            shares = ((q[:, part] @ k[:, part].T) / 8).exp()
            heads.append(shares / shares.sum(-1, keepdim=True) @ v[:, part])
        x = x + linear(torch.cat(heads, -1), f"{block}attn.proj") * w.get(f"{block}ls1.gamma", 1)
        y = linear(normal(x, f"{block}norm2"), f"{block}mlp.fc1")
        y = y * 0.5 * (1 + torch.erf(y / 2**0.5))
        x = x + linear(y, f"{block}mlp.fc2") * w.get(f"{block}ls2.gamma", 1)
    return normal(x, "norm")[1 + len(registers) :]


@pytest.mark.parametrize(("registers", "scaled"), [(0, False), (0, True), (4, True)])
def test_patches_are_what_the_formulae_say(registers: int, scaled: bool) -> None:
    weights = tensors(registers=registers, scaled=scaled)
    network = Dino({name: value.clone() for name, value in weights.items()}, Path("x"), "x")
    pixels = torch.randn(3, SIDE * PATCH, SIDE * PATCH, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = network(pixels[None])[0]
    expected = written_out(weights, pixels)
    assert (found - expected).abs().max() < 2e-4 * expected.abs().max()


def test_blocks_in_chunks_are_the_same_blocks() -> None:
    pixels = torch.randn(1, 3, 28, 42, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain, chunked = (Dino(tensors(chunked=chunked), Path("x"), "x")(pixels) for chunked in (False, True))
    assert torch.equal(plain, chunked)


def test_a_picture_of_any_shape_is_padded_not_squashed(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "dinov2_vits14_pretrain.pth")
    network = open_network(tmp_path / "dinov2_vits14_pretrain.pth")
    picture = np.random.default_rng(0).integers(0, 256, (150, 400, 3), np.uint8)
    features, (rows, columns) = network.patches(picture)
    assert features.shape == (WIDTH, 14, 37)
    assert columns == 37
    assert rows == pytest.approx(150 / 400 * 37, abs=0.05)
    turned, _ = network.patches(picture[..., ::-1].copy())
    assert np.abs(turned - features).max() > 1e-3  # red is not blue


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: weights.pop("pos_embed"), "no backbone"),
        (lambda weights: weights.pop("blocks.1.norm2.bias"), "'blocks.1.norm2.bias' of"),
        (lambda weights: weights.update({"blocks.0.mlp.w12.weight": torch.zeros(2, 2)}), "giant"),
        (lambda weights: weights.update({"head.weight": torch.zeros(2, 2)}), "'head.weight' is no part"),
        (lambda weights: weights.update({"pos_embed": torch.zeros(1, 12, WIDTH)}), "has the shape"),
    ],
)
def test_another_layout(tmp_path: Path, change, told: str) -> None:
    weights = tensors()
    change(weights)
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(InputError, match=told):
        open_network(tmp_path / "other.pth")


def test_where_a_checkpoint_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SEGWILD_DINO_CHECKPOINT", raising=False)
    with pytest.raises(SetupError, match="DINO needs a checkpoint"):
        find_checkpoint()
    monkeypatch.setenv("SEGWILD_DINO_CHECKPOINT", str(tmp_path / "gone.pth"))
    with pytest.raises(InputError, match="SEGWILD_DINO_CHECKPOINT"):
        find_checkpoint()


def test_dino_is_lifted(blobs, tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "dinov2_small.pth")
    result = lift.run(Lift(blobs.workspace.root, "dino", checkpoint=tmp_path / "dinov2_small.pth"), Quiet())
    assert result.items() >= {"channels": WIDTH, "photos": 6}.items()
    lifted = Lifted.load(blobs.workspace, "dino")
    assert lifted is not None
    assert 0 < np.median(lifted.confidence[~lifted.unseen]) <= 1


def test_the_help_says_where_weights_are_looked_for() -> None:
    assert SAM_VARIABLE in NETWORK_WEIGHTS
    assert VARIABLE in NETWORK_WEIGHTS
    assert doctor.run(Doctor(), Quiet())["checkpoints_folder"]  # where the doctor names no files for DINO
