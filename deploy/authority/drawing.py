"""Draws who can reach whom, as SVG: tasks on a circle, an arrow for each direct way. It needs no other program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Final

_RADIUS_EACH: Final = 26  # pixels of circumference's radius that each task adds
_LABEL: Final = 130  # pixels around the circle for names
_DOT: Final = 5
_HEAD: Final = (
    '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#456"/></marker>'
)


def svg(matrix: Mapping[str, Mapping[str, str]]) -> str:
    """The picture of a `questions.Analysis.matrix`: per task, whom it reaches and at which object."""
    names = list(matrix)
    radius = max(120, _RADIUS_EACH * len(names) // 2)
    size = 2 * (radius + _LABEL)
    angles = {name: 2 * math.pi * number / len(names) - math.pi / 2 for number, name in enumerate(names)}

    def point(name: str, distance: float) -> tuple[float, float]:
        angle = angles[name]
        return size / 2 + distance * math.cos(angle), size / 2 + distance * math.sin(angle)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" font-family="sans-serif">', _HEAD]
    for source, reached in matrix.items():
        for target, by in reached.items():
            (x1, y1), (x2, y2) = point(source, radius), point(target, radius - _DOT)
            bend = f"{(x1 + x2) / 4 + size / 4:.1f} {(y1 + y2) / 4 + size / 4:.1f}"
            title = escape(f"{source} reaches {target} by {by}")
            curve = f"M{x1:.1f} {y1:.1f}Q{bend} {x2:.1f} {y2:.1f}"
            style = 'fill="none" stroke="#456" stroke-opacity="0.6" marker-end="url(#head)"'
            parts.append(f'<path d="{curve}" {style}><title>{title}</title></path>')
    for name in names:
        (x, y), (at_x, at_y) = point(name, radius), point(name, radius + 12)
        anchor = "middle" if abs(at_x - size / 2) < 1 else "start" if at_x > size / 2 else "end"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}" fill="#c40"/>')
        text = f'<text x="{at_x:.1f}" y="{at_y + 4:.1f}" font-size="13" text-anchor="{anchor}">{escape(name)}</text>'
        parts.append(text)
    return "\n".join((*parts, "</svg>\n"))
