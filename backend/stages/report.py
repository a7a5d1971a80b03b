"""Figures and pictures into one HTML page that opens offline: everything it shows is inside the file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from backend.capture.pictures import fitted_size, resized
from backend.scene.files import written_whole

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #626b75; --line: #dfe3e8; --page: #fbfbfa; --card: #ffffff;
  --accent: #b4552d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --soft: #9aa2ab; --line: #33383e; --page: #17191c;
  --card: #1f2226; --accent: #e08a5f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 0 0 .4rem; letter-spacing: -.02em; }
h2 { font-size: 1.35rem; margin: 3.2rem 0 .3rem; letter-spacing: -.01em; }
p { max-width: 70ch; margin: .3rem 0 1rem; color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; margin: 1.8rem 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1rem; }
.figures b { display: block; font-size: 1.55rem; font-variant-numeric: tabular-nums; letter-spacing: -.02em; }
.figures span { color: var(--soft); font-size: .85rem; }
.row { display: grid; gap: .7rem; margin: 0 0 1.1rem; }
figure { margin: 0; min-width: 0; }
figure img { width: 100%; display: block; border-radius: 6px; background: #8882; }
figure.cut img { background: repeating-conic-gradient(#8883 0 25%, #8881 0 50%) 0 0 / 18px 18px; }
figcaption { font-size: .82rem; color: var(--soft); padding-top: .3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: left; padding: .35rem 1.4rem .35rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; }
svg { width: 100%; max-width: 720px; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg path { fill: none; stroke: var(--accent); stroke-width: 2; }
svg line { stroke: var(--line); }
code { background: var(--card); border: 1px solid var(--line); border-radius: 5px; padding: .05rem .35rem; }
"""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with its caption; (H, W, 3), or (H, W, 4) where it is transparent."""

    pixels: np.ndarray  # uint8
    caption: str = ""


@dataclass
class Report:
    """A page that grows section by section and is written once."""

    title: str
    _parts: list[str] = field(default_factory=list)

    def text(self, sentence: str) -> None:
        self._parts.append(f"<p>{html.escape(sentence)}</p>")

    def section(self, heading: str, sentence: str = "") -> None:
        self._parts.append(f"<h2>{html.escape(heading)}</h2>")
        if sentence:
            self.text(sentence)

    def figures(self, values: Sequence[tuple[str, str]]) -> None:
        """Numbers large, what they are small."""
        cells = "".join(f"<div><b>{html.escape(v)}</b><span>{html.escape(k)}</span></div>" for v, k in values)
        self._parts.append(f'<div class="figures">{cells}</div>')

    def row(self, pictures: Sequence[Picture], *, columns: int | None = None, long_side: int = 560) -> None:
        """Pictures side by side."""
        count = columns or len(pictures)
        cells = "".join(_figure(picture, long_side) for picture in pictures)
        self._parts.append(f'<div class="row" style="grid-template-columns: repeat({count}, 1fr)">{cells}</div>')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        self._parts.append(f"<table><tr>{top}</tr>{body}</table>")

    def curve(self, x: Sequence[float], y: Sequence[float], x_name: str, y_name: str) -> None:
        """A line from (x, y), both linear, y from zero."""
        if len(x) < 2:
            return
        width, height, left, bottom = 720, 240, 48, 30
        top = max(y) * 1.05 or 1.0
        points = [
            (left + (width - left - 10) * (a - x[0]) / (x[-1] - x[0]), 10 + (height - bottom - 10) * (1 - b / top))
            for a, b in zip(x, y, strict=True)
        ]
        path = "M" + " L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        grid = ""
        for share in (0.0, 0.5, 1.0):
            at = 10 + (height - bottom - 10) * (1 - share)
            grid += f'<line x1="{left}" x2="{width - 10}" y1="{at:.0f}" y2="{at:.0f}"/>'
            grid += f'<text x="4" y="{at + 4:.0f}">{top * share:.3f}</text>'
        self._parts.append(
            f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(y_name)}">{grid}'
            f'<path d="{path}"/><text x="{left}" y="{height - 8}">{html.escape(x_name)} {x[0]:g}</text>'
            f'<text x="{width - 10}" y="{height - 8}" text-anchor="end">{x[-1]:g}</text>'
            f'<text x="{left + 6}" y="22">{html.escape(y_name)}</text></svg>'
        )

    def write(self, path: Path) -> None:
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style>"
            f"<main><h1>{html.escape(self.title)}</h1>{''.join(self._parts)}</main></html>"
        )
        with written_whole(path) as file:
            file.write(page.encode())


def _figure(picture: Picture, long_side: int) -> str:
    pixels = picture.pixels
    width, height = fitted_size(pixels.shape[1], pixels.shape[0], long_side)
    transparent = pixels.ndim == 3 and pixels.shape[2] == 4
    if not transparent:
        pixels = resized(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2), width, height)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG" if transparent else "JPEG", quality=88)
    kind = "png" if transparent else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(held.getvalue()).decode()}"
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>" if picture.caption else ""
    cut = ' class="cut"' if transparent else ""
    return f'<figure{cut}><img src="{source}" alt="{html.escape(picture.caption)}" loading="lazy">{caption}</figure>'
