"""Layers of splats and a view into a premultiplied picture on the graphics card.

The picture blends display colours, as the photos did that the splats were fitted to; only the finished picture
becomes linear light.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .buffers import Layer, uploaded
from .camera import View
from .projection import clamps
from .shaders import DISPLAY_GAMMA, HARMONIC_TEXELS, merge_shader, splat_shader

# Of the session, for all painters and files: a driver keeps a part of each program that was drawn with.
_PROGRAMS: dict[Any, Any] = {}
_BATCHES: dict[Any, Any] = {}
_CORNERS = {"corner": [(-1, -1), (1, -1), (-1, 1), (1, 1)]}


@dataclass(frozen=True, eq=False)
class Stroke:
    """One layer in one order."""

    layer: Layer
    order: Any  # texture of row numbers, farthest first
    count: int  # rows in it
    objects: Any  # texture of `buffers.object_table`
    made_of: tuple[Any, ...] = ()  # differs whenever anything of the above holds other values


@dataclass(frozen=True)
class Highlight:
    """How marked rows are tinted; display colours."""

    color: Sequence[float] = (1.0, 0.35, 0.05)
    strength: float = 0.55  # 0 leaves them as they are, 1 covers them


def view_block(
    view: View,
    *,
    count: int = 0,
    every: int = 1,  # n: draw each n-th row, widened to cover what is left out
    degree: int = 0,
    depth_ratio: float = 0.0,  # pixels of the depth picture per pixel; 0: nothing hides splats
    highlight: Highlight = Highlight(),
) -> np.ndarray:
    """(24,) float32, the block SegwildView of the shaders."""
    a, b = view.depth_terms
    # Fewer rows in the place of all have to cover the same area.
    swell = min(every, 16) ** 0.5
    return np.array(
        [
            *(view.fx, view.fy, view.cx, view.cy),
            *(view.width, view.height, float(view.orthographic), max(view.near, 1e-6)),
            *clamps(view),
            *(a, b, depth_ratio, swell),
            *(*highlight.color, highlight.strength),
            *(count, every, HARMONIC_TEXELS[degree], DISPLAY_GAMMA),
        ],
        np.float32,
    )


class Painter:
    """Everything on the graphics card that belongs to no layer: pictures to draw into."""

    def __init__(self) -> None:
        self._targets: dict[tuple[Any, int, int, bool], tuple[Any, ...]] = {}
        self._painted: dict[tuple[Any, int, int, bool], tuple[Any, ...]] = {}  # what is in a target
        self.paintings = 0  # tests read it
        self._blocks: list[Any] = []
        self._none: Any = None

    def paint(
        self,
        strokes: Sequence[Stroke],  # farthest layer first
        view: View,  # its size is the picture's
        *,
        behind: Any = None,  # texture of depths 0..1 that hide what lies behind them
        depth_ratio: float = 1.0,
        every: int = 1,
        highlight: Highlight = Highlight(),
        with_depth: bool = False,
        name: Any = None,  # of a view that is painted again and again
        behind_number: int = 0,  # tells one `behind` from another, where there is a name
    ) -> tuple[Any, ...]:
        """The framebuffer drawn into and its textures: the picture and, `with_depth`, (z·alpha, -, -, alpha).

        They are overwritten by the next call of the same size and name. With a name, what would come out the same is
        not painted again.
        """
        import gpu

        key = (name, view.width, view.height, with_depth)
        framebuffer, *textures = self._target(key)
        made_of = (
            *(stroke.made_of for stroke in strokes),
            view_block(view, every=every, depth_ratio=depth_ratio, highlight=highlight).tobytes(),
            behind_number if behind is not None else None,
        )
        if name is not None and self._painted.get(key) == made_of:
            return framebuffer, *textures
        self._painted.pop(key, None)  # until it is painted: there may be no memory for a layer
        self.paintings += 1
        program = _program(with_depth)
        with framebuffer.bind():
            for each in textures:
                each.clear(format="FLOAT", value=(0.0, 0.0, 0.0, 0.0))
            framebuffer.viewport_set(0, 0, view.width, view.height)
            gpu.state.blend_set("ALPHA_PREMULT")
            gpu.state.depth_test_set("NONE")
            gpu.state.depth_mask_set(False)
            program.bind()
            for number, stroke in enumerate(strokes):
                block = view_block(
                    view,
                    count=stroke.count,
                    every=every,
                    degree=stroke.layer.degree,
                    depth_ratio=depth_ratio if behind is not None else 0.0,
                    highlight=highlight,
                )
                program.uniform_block("view", self._block(number, block))
                for sampler, texture in stroke.layer.textures().items():
                    program.uniform_sampler(sampler, texture)
                program.uniform_sampler("order", stroke.order)
                program.uniform_sampler("objects", stroke.objects)
                program.uniform_sampler("behind", behind if behind is not None else self._nothing())
                quads = -(-stroke.count // every)
                if quads:
                    _batch(with_depth).draw_instanced(program, instance_count=quads)
            gpu.state.blend_set("NONE")
        self._painted[key] = made_of
        return framebuffer, *textures

    def merge(self, picture: Any, view: View, background: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        """Lay a picture over the framebuffer of a 3D view, which is bound.

        `background` is the display colour that is expected there: over it, the picture blends exactly as within
        itself; over another colour about so.
        """
        import gpu

        program = _program("merge")
        gpu.state.blend_set("ALPHA_PREMULT")
        gpu.state.depth_test_set("NONE")
        gpu.state.depth_mask_set(False)
        program.bind()
        program.uniform_block("view", self._block(-1, view_block(view, highlight=Highlight(background, 0.0))))
        program.uniform_sampler("picture", picture)
        _batch("merge").draw(program)
        gpu.state.blend_set("NONE")

    def free(self) -> None:
        """Let go of everything; the next drawing makes it anew."""
        self.__init__()

    def _target(self, key: tuple[Any, int, int, bool]) -> tuple[Any, ...]:
        import gpu

        found = self._targets.pop(key, None)
        if found is None:
            name, width, height, with_depth = key
            # A view has a picture of each of two sizes; others are from before its window was resized.
            own = [other for other in self._targets if other[0] == name]
            for old in own[: max(0, len(own) - 1)]:
                self._let_go(old)
            # Where depths are wanted a file is made, and 16 bits would show in it.
            form = "RGBA32F" if with_depth else "RGBA16F"
            textures = [gpu.types.GPUTexture((width, height), format=form) for _ in range(1 + with_depth)]
            found = (gpu.types.GPUFrameBuffer(color_slots=textures), *textures)
        self._targets[key] = found
        return found

    def keep(self, names: Collection[Any]) -> None:
        """Let go of the pictures of views that are no longer there."""
        for key in [key for key in self._targets if key[0] is not None and key[0] not in names]:
            self._let_go(key)

    def _let_go(self, key: tuple[Any, int, int, bool]) -> None:
        del self._targets[key]
        self._painted.pop(key, None)

    def _block(self, place: int, values: np.ndarray) -> Any:
        import gpu

        place += 1
        while len(self._blocks) <= place:
            self._blocks.append(gpu.types.GPUUniformBuf(gpu.types.Buffer("FLOAT", values.size, values)))
        self._blocks[place].update(gpu.types.Buffer("FLOAT", values.size, values))
        return self._blocks[place]

    def _nothing(self) -> Any:
        if self._none is None:
            self._none = uploaded(np.ones(1, np.float32), (1, 1), "R32F", "nothing")
        return self._none


def _program(kind: Any) -> Any:
    if kind not in _PROGRAMS:
        _PROGRAMS[kind] = merge_shader() if kind == "merge" else splat_shader(with_depth=kind)
    return _PROGRAMS[kind]


def _batch(kind: Any) -> Any:
    if kind not in _BATCHES:
        from gpu_extras.batch import batch_for_shader

        _BATCHES[kind] = batch_for_shader(_program(kind), "TRI_STRIP", _CORNERS)
    return _BATCHES[kind]


def forget_programs() -> None:
    """Let go of what all painters share."""
    _BATCHES.clear()
    _PROGRAMS.clear()
