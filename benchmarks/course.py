"""Benchmark lines into a picture of held-out PSNR over training time: plain SVG, a panel per scene."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.curves import COLORS

WIDTH, HEIGHT, LEFT, TOP, GAP = 320, 240, 50, 34, 60  # px

Point = tuple[float, float]  # seconds, dB


def write_course(lines: Iterable[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(course_svg(courses(lines)), encoding="utf-8")


def courses(lines: Iterable[dict[str, Any]]) -> dict[str, list[tuple[str, list[Point]]]]:
    """Scene -> (variant, its points) of every training; folds are panels of their own."""
    found: dict[str, list[tuple[str, list[Point]]]] = {}
    for line in lines:
        if line["value"] is None or not line.get("course"):
            continue
        scene = " ".join(filter(None, (line["scene"], line["fold"])))
        points = [(secs, value) for secs, _, value in line["course"]]
        found.setdefault(scene, []).append((line["variant"], points))
    return found


def course_svg(panels: dict[str, list[tuple[str, list[Point]]]]) -> str:
    """Axes are linear; one colour per variant, one line per seed."""
    variants = sorted({variant for series in panels.values() for variant, _ in series})
    color = {variant: COLORS[k % len(COLORS)] for k, variant in enumerate(variants)}
    width, height = LEFT + max(1, len(panels)) * (WIDTH + GAP), TOP + HEIGHT + 46 + 18 * len(variants)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for k, (scene, series) in enumerate(panels.items()):
        parts += _panel(LEFT + k * (WIDTH + GAP), scene, series, color)
    for k, variant in enumerate(variants):
        y = TOP + HEIGHT + 54 + 18 * k
        parts.append(f'<path d="M{LEFT} {y - 4}h22" stroke="{color[variant]}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 28}" y="{y}">{escape(variant)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(left: float, scene: str, series: list[tuple[str, list[Point]]], color: dict[str, str]) -> list[str]:
    every = [point for _, points in series for point in points]
    longest = max(secs for secs, _ in every) or 1.0
    low, high = min(value for _, value in every) - 0.5, max(value for _, value in every) + 0.5
    parts = [
        f'<text x="{left}" y="{TOP - 12}" font-weight="bold">{escape(scene)}</text>',
        f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        x, y = left + share * WIDTH, TOP + (1 - share) * HEIGHT
        parts.append(f'<text x="{x}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{share * longest:.0f} s</text>')
        parts.append(f'<text x="{left - 5}" y="{y + 4}" text-anchor="end">{low + share * (high - low):.1f} dB</text>')
    for variant, points in series:
        way = " L".join(
            f"{left + secs / longest * WIDTH:.1f} {TOP + (1 - (value - low) / (high - low)) * HEIGHT:.1f}"
            for secs, value in points
        )
        parts.append(f'<path d="M{way}" fill="none" stroke="{color[variant]}" stroke-width="1.5"/>')
    return parts
