"""A segment-anything checkpoint into its network: ViT-B, ViT-L or ViT-H, told apart by the width of the embedding."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from backend.features import weights
from backend.features.sam.network import Network
from backend.features.vision import import_beside_torch
from segwild_addon.protocol.errors import InputError, SetupError

VARIABLE = "SEGWILD_SAM_CHECKPOINT"
_WIDTH_OF = "image_encoder.patch_embed.proj.weight"


_HOST = "https://dl.fbaipublicfiles.com/segment_anything"
# The smallest first: without a card, ViT-B takes 20 seconds per picture, ViT-H minutes.
PUBLISHED = (
    weights.Published(
        "ViT-B",
        f"{_HOST}/sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    weights.Published(
        "ViT-L",
        f"{_HOST}/sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    weights.Published(
        "ViT-H",
        f"{_HOST}/sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
)
HINT = f"Download one, for instance {PUBLISHED[0].url} ({PUBLISHED[0].size_bytes / 1e6:.0f} MB, Apache-2.0)."


@dataclass(frozen=True)
class Layout:
    """What the checkpoint's tensors do not say of themselves."""

    kind: str
    depth: int
    heads: int
    global_blocks: tuple[int, ...]  # the others attend within windows
    side_px: int = 1024  # of the square that the network sees
    patch_px: int = 16


LAYOUTS = {
    768: Layout("ViT-B", 12, 12, (2, 5, 8, 11)),
    1024: Layout("ViT-L", 24, 16, (5, 11, 17, 23)),
    1280: Layout("ViT-H", 32, 16, (7, 15, 23, 31)),
}


def find_checkpoint(given: Path | None = None) -> Path:
    """Raises InputError or SetupError as `weights.find`."""
    names = [published.file for published in PUBLISHED]
    return weights.find(given, VARIABLE, [*names, "sam_vit_*.pth"], "Segment-anything", HINT)


def on_this_machine() -> list[str]:
    """A line for each published checkpoint, and for others that are found: where it is and whether it is whole, or
    where to get it. Reads what it finds, a second per gigabyte.
    """
    found = sorted(weights.folder().glob("sam_vit_*.pth"))
    if os.environ.get(VARIABLE):
        found.insert(0, Path(os.environ[VARIABLE]).expanduser())
    missing = [f"missing: {path} ({VARIABLE} names it)" for path in found if not path.is_file()]
    return missing + weights.on_this_machine(PUBLISHED, [path for path in found if path.is_file()])


def open_network(path: Path) -> Network:
    """The network of a checkpoint.

    Raises InputError for a file that is none, SetupError if the package `segment-anything` is not installed.
    """
    tensors = weights.read_tensors(path)
    width = tensors[_WIDTH_OF].shape[0] if _WIDTH_OF in tensors else 0
    layout = LAYOUTS.get(width)
    if layout is None:
        known = ", ".join(f"{layout.kind} ({width})" for width, layout in LAYOUTS.items())
        why = f"its embedding is {width} wide" if width else "it has no image encoder"
        raise InputError(
            "checkpoint-unknown",
            f"This is no checkpoint of segment-anything, {why}: {path}.",
            f"Known are {known}. SAM 2 and later, and mobile variants, are other networks.",
        )
    with torch.device("meta"):
        model = build(width, layout)
    weights.checked_against(tensors, model.state_dict(), path, f"segment-anything {layout.kind}")
    model.load_state_dict(tensors, assign=True)
    return Network(model.eval().requires_grad_(False), weights.digest(path))


def build(width: int, layout: Layout) -> Any:
    """A `segment_anything.modeling.Sam` with weights as torch draws them. Raises SetupError if there is no package."""
    modeling: Any = _modeling()
    side = layout.side_px // layout.patch_px
    return modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            img_size=layout.side_px,
            patch_size=layout.patch_px,
            embed_dim=width,
            depth=layout.depth,
            num_heads=layout.heads,
            mlp_ratio=4,
            out_chans=256,
            qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=layout.global_blocks,
        ),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=256, image_embedding_size=(side, side), input_image_size=(layout.side_px,) * 2, mask_in_chans=16
        ),
        mask_decoder=modeling.MaskDecoder(
            num_multimask_outputs=3,
            transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
            transformer_dim=256,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
    )


def _modeling() -> object:
    try:
        return import_beside_torch("segment_anything.modeling")
    except ImportError as error:
        raise SetupError(
            "no-segment-anything",
            "The package segment-anything, whose network is used, is not installed.",
            "Install it: pip install 'segwild[sam]'.",
        ) from error
