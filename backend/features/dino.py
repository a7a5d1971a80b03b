"""A DINO or DINOv2 vision transformer from a weights file into features of a picture's patches.

The files are those of torch hub's `dino` and `dinov2` (Caron et al., arXiv 2104.14294; Oquab et al., arXiv 2304.07193;
registers: Darcet et al., arXiv 2309.16588). The layers are torch's own: these transformers differ from them in the
names of weights and, in DINOv2, in a factor per channel after each half of a block, which is multiplied into the
matrix before it. Everything the network is follows from the shapes of its weights.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from backend.features import weights
from segwild_addon.protocol.errors import InputError

VARIABLE = "SEGWILD_DINO_CHECKPOINT"
HINT = (
    "Download one, for instance https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth "
    "(88 MB, Apache-2.0)."
)
LONG_SIDE = 518  # pixels, that DINOv2 was finished on; other sizes work
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_HEAD = 64  # channels per attention head in every published size
_EPS = 1e-6
_UNUSED = {"mask_token"}  # of the training alone
_BLOCK = re.compile(r"blocks\.(\d+)\.")


class Dino(nn.Module):
    """The network. `patches` is what it is for."""

    def __init__(self, tensors: dict[str, Tensor], path: Path, digest: str) -> None:
        """Raises InputError for tensors of another layout."""
        super().__init__()
        self.digest = digest  # SHA-256 of the file
        tensors = {name: value for name, value in tensors.items() if name not in _UNUSED}
        # DINOv2 writes blocks.<chunk>.<number> where it was trained in chunks.
        tensors = {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name): value for name, value in tensors.items()}
        stem = tensors.get("patch_embed.proj.weight")
        places = tensors.get("pos_embed")
        blocks = {int(match[1]) for name in tensors if (match := _BLOCK.match(name))}
        if stem is None or stem.dim() != 4 or places is None or places.dim() != 3 or not blocks:
            raise InputError(
                "checkpoint-unknown",
                f"This is no backbone of DINO or DINOv2: {path}.",
                "Use the file named backbone or pretrain that its authors publish; DINOv3 is another network.",
            )
        if any("mlp.w12" in name for name in tensors):
            raise InputError(
                "checkpoint-unknown", f"The giant ViT-g is not supported: {path}.", "Use ViT-S, ViT-B or ViT-L."
            )
        self.channels, self.patch_px = int(stem.shape[0]), int(stem.shape[2])
        side = round((places.shape[1] - 1) ** 0.5)
        hidden = tensors.get("blocks.0.mlp.fc1.bias", torch.zeros(4 * self.channels)).shape[0]
        registers = tensors.get("register_tokens", torch.zeros(1, 0, self.channels))
        expected = _expected(
            self.channels, self.patch_px, len(blocks), hidden, side, registers, "blocks.0.ls1.gamma" in tensors
        )
        weights.checked_against(tensors, expected, path, "such a transformer")
        with torch.device("meta"):
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    self.channels,
                    self.channels // _HEAD or 1,
                    hidden,
                    dropout=0.0,
                    activation="gelu",
                    layer_norm_eps=_EPS,
                    batch_first=True,
                    norm_first=True,
                )
                for _ in blocks
            )
        for number, block in enumerate(self.blocks):
            block.load_state_dict(_block(tensors, f"blocks.{number}."), assign=True)
        for name in ("cls_token", "pos_embed", "norm.weight", "norm.bias"):
            self.register_buffer(name.replace(".", "_"), tensors[name])
        self.register_buffer("stem_weight", stem)
        self.register_buffer("stem_bias", tensors["patch_embed.proj.bias"])
        self.register_buffer("registers", registers)
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def patches(self, picture: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
        """(D, h, w) float32 features of the patches of (H, W, 3) uint8 RGB, and the rows and columns of them that the
        picture fills: it is brought to a long side of `LONG_SIDE` and padded, never squashed.
        """
        height, width = picture.shape[:2]
        ratio = LONG_SIDE / max(height, width)
        size = max(1, round(width * ratio)), max(1, round(height * ratio))
        resized = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), np.float32) / 255
        pixels = ((resized - np.float32(_MEAN)) / np.float32(_DEVIATION)).transpose(2, 0, 1)
        rows, columns = (-(-side // self.patch_px) for side in pixels.shape[1:])
        padding = (0, columns * self.patch_px - pixels.shape[2], 0, rows * self.patch_px - pixels.shape[1])
        padded = functional.pad(torch.from_numpy(np.ascontiguousarray(pixels))[None], padding)
        features = self(padded)[0].T.reshape(self.channels, rows, columns)
        return features.numpy(), (pixels.shape[1] / self.patch_px, pixels.shape[2] / self.patch_px)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, h·P, w·P) normalised to (B, h·w, D), the normalised patch tokens of the last block."""
        x = functional.conv2d(pixels, self.stem_weight, self.stem_bias, stride=self.patch_px)
        rows, columns = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self._places(rows, columns)
        # Registers come after the places were added: they have none.
        x = torch.cat([x[:, :1], self.registers.expand(len(x), -1, -1), x[:, 1:]], 1)
        for block in self.blocks:
            x = block(x)
        x = functional.layer_norm(x, (self.channels,), self.norm_weight, self.norm_bias, _EPS)
        return x[:, 1 + self.registers.shape[1] :]

    def _places(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + rows·columns, D): position vectors, between those that were learnt."""
        side = round((self.pos_embed.shape[1] - 1) ** 0.5)
        if (rows, columns) == (side, side):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        grid = functional.interpolate(grid, (rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def find_checkpoint(given: Path | None = None) -> Path:
    """Raises InputError or SetupError as `weights.find`."""
    return weights.find(given, VARIABLE, ["dinov2_vit*.pth", "dino_vit*.pth", "dino*.pth"], "DINO", HINT)


def open_network(path: Path) -> Dino:
    """Raises InputError for a file that is none."""
    return Dino(weights.read_tensors(path), path, weights.digest(path))


def _block(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Weights of one block under the names of `nn.TransformerEncoderLayer`."""
    one = torch.ones(())
    after = {
        name: tensors.get(f"{prefix}{gamma}.gamma", one) for name, gamma in (("attn.proj", "ls1"), ("mlp.fc2", "ls2"))
    }
    names = {
        "norm1": "norm1",
        "norm2": "norm2",
        "self_attn.out_proj": "attn.proj",
        "linear1": "mlp.fc1",
        "linear2": "mlp.fc2",
    }
    result = {
        "self_attn.in_proj_weight": tensors[f"{prefix}attn.qkv.weight"],
        "self_attn.in_proj_bias": tensors[f"{prefix}attn.qkv.bias"],
    }
    for ours, theirs in names.items():
        factor = after.get(theirs, one)
        result[f"{ours}.weight"] = tensors[f"{prefix}{theirs}.weight"] * (factor[:, None] if factor.dim() else factor)
        result[f"{ours}.bias"] = tensors[f"{prefix}{theirs}.bias"] * factor
    return result


def _expected(
    channels: int, patch: int, depth: int, hidden: int, side: int, registers: Tensor, scaled: bool
) -> dict[str, Tensor]:
    """Names and shapes of a transformer's weights, without their values."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, channels),
        "pos_embed": (1, 1 + side * side, channels),
        "patch_embed.proj.weight": (channels, 3, patch, patch),
        "patch_embed.proj.bias": (channels,),
        "norm.weight": (channels,),
        "norm.bias": (channels,),
    }
    if registers.numel():
        shapes["register_tokens"] = (1, registers.shape[1], channels)
    for number in range(depth):
        for name, rows, columns in (
            ("attn.qkv", 3 * channels, channels),
            ("attn.proj", channels, channels),
            ("mlp.fc1", hidden, channels),
            ("mlp.fc2", channels, hidden),
        ):
            shapes[f"blocks.{number}.{name}.weight"], shapes[f"blocks.{number}.{name}.bias"] = (rows, columns), (rows,)
        for name in (
            "norm1.weight",
            "norm1.bias",
            "norm2.weight",
            "norm2.bias",
            *(("ls1.gamma", "ls2.gamma") * scaled),
        ):
            shapes[f"blocks.{number}.{name}"] = (channels,)
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
