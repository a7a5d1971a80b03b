"""Benchmark lines into a picture of how time grows with Gaussians, pixels and channels: plain SVG."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

PANEL_WIDTH, PANEL_HEIGHT = 300, 260  # px
LEFT, TOP, GAP, LEGEND_HEIGHT = 56, 36, 66, 90
COLORS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8a5fbf", "#c77d0a", "#3d3d3d", "#0aa5a5", "#999999")

Series = dict[str, list[tuple[float, float]]]  # label -> (x, milliseconds), x ascending


def write(lines: Iterable[dict[str, Any]], path: Path) -> None:
    """Three panels on logarithmic axes, at the largest thread count; each holds fixed what it does not vary."""
    timed = [line for line in lines if line.get("unit") == "s" and line["value"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg(panels(timed)), encoding="utf-8")


def panels(timed: list[dict[str, Any]]) -> list[tuple[str, str, Series]]:
    """Title, x axis and series of each panel; middle values are held where another one varies."""
    if not timed:
        return []
    most = max(line["threads"] for line in timed)
    timed = [line | {"pixels": line["width"] * line["height"]} for line in timed if line["threads"] == most]
    count, pixels = (_middle(line[name] for line in timed) for name in ("gaussians", "pixels"))
    in_size = [line for line in timed if line["pixels"] == pixels]
    in_count = [line for line in timed if line["gaussians"] == count]
    in_both = [line for line in in_size if line["gaussians"] == count and line["engine"] == "cpu"]
    scene = timed[0]["scene"]
    return [
        (f"{scene}, {pixels / 1e6:.2f} Mpx, {most} threads", "Gaussians", _series(in_size, "gaussians")),
        (f"{scene}, {count:,} Gaussians", "pixels", _series(in_count, "pixels")),
        (f"{count:,} Gaussians, {pixels / 1e6:.2f} Mpx", "channels or labels", _series(in_both, "channels")),
    ]


def svg(shown: list[tuple[str, str, Series]]) -> str:
    labels = sorted({label for _, _, series in shown for label in series})
    color = {label: COLORS[k % len(COLORS)] for k, label in enumerate(labels)}
    width = LEFT + len(shown) * (PANEL_WIDTH + GAP)
    height = TOP + PANEL_HEIGHT + 50 + LEGEND_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for k, (title, axis, series) in enumerate(shown):
        parts += _panel(LEFT + k * (PANEL_WIDTH + GAP), title, axis, series, color)
    for k, label in enumerate(labels):
        x, y = LEFT + k % 4 * 260, TOP + PANEL_HEIGHT + 62 + k // 4 * 18
        parts.append(f'<path d="M{x} {y - 4}h22" stroke="{color[label]}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 28}" y="{y}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(left: float, title: str, axis: str, series: Series, color: dict[str, str]) -> list[str]:
    every = [point for points in series.values() for point in points]
    x_low, x_high = _decades(x for x, _ in every)
    y_low, y_high = _decades(y for _, y in every)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_low) / (x_high - x_low)
        up = (math.log10(y) - y_low) / (y_high - y_low)
        return round(left + across * PANEL_WIDTH, 1), round(TOP + (1 - up) * PANEL_HEIGHT, 1)

    parts = [
        f'<text x="{left}" y="{TOP - 12}" font-weight="bold">{escape(title)}</text>',
        f'<rect x="{left}" y="{TOP}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="#888"/>',
        f'<text x="{left + PANEL_WIDTH / 2}" y="{TOP + PANEL_HEIGHT + 34}" text-anchor="middle">{escape(axis)}</text>',
    ]
    for value in _ticks(x_low, x_high):
        x, _ = at(value, 10**y_low)
        parts.append(f'<path d="M{x} {TOP}v{PANEL_HEIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x}" y="{TOP + PANEL_HEIGHT + 16}" text-anchor="middle">{_short(value)}</text>')
    for value in _ticks(y_low, y_high):
        _, y = at(10**x_low, value)
        parts.append(f'<path d="M{left} {y}h{PANEL_WIDTH}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 4}" text-anchor="end">{_short(value)} ms</text>')
    for label, points in series.items():
        places = [at(x, y) for x, y in points]
        path = "L".join(f"{x} {y}" for x, y in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{color[label]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{color[label]}"/>' for x, y in places]
    return parts


def _series(lines: list[dict[str, Any]], axis: str) -> Series:
    """One series per operation; along an axis other than channels, only those of 3 channels and 16."""
    found: Series = defaultdict(list)
    for line in lines:
        name = line["name"].removeprefix("rasterize/").replace("_", " ")
        if axis == "channels":
            if name == "training step":
                continue
            label = f"{line['engine']} {name}"
        elif line["channels"] == (16 if name.startswith("accumulate") else 3):
            label = f"{line['engine']} {name}"
        else:
            continue
        found[label].append((line[axis], 1e3 * line["value"]))
    return {label: sorted(points) for label, points in found.items()}


def _middle(values: Iterable[int]) -> int:
    """Of four, the third of pixels and the second of Gaussians would do; the upper middle is both's neighbour."""
    own = sorted(set(values))
    return own[len(own) // 2]


def _decades(values: Iterable[float]) -> tuple[float, float]:
    """Ends of a logarithmic axis, a little wider than the values."""
    logs = [math.log10(value) for value in values] or [0.0, 1.0]
    return min(logs) - 0.1, max(logs) + 0.1


def _ticks(low: float, high: float) -> list[float]:
    """Values 1, 2, 5 times powers of ten between the ends; only powers of ten if those are many."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    every = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    inside = [value for value in every if low <= math.log10(value) <= high]
    tens = [value for value in inside if round(math.log10(value), 9).is_integer()]
    return tens if len(inside) > 7 and len(tens) > 1 else inside


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
