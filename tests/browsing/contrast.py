"""How legible a screen is: each text of a picture with its colour and the ground below it."""

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

__all__ = ["DrawnText", "contrast", "texts_of"]

_CELL, _LINE = 12.2, 24.4  # units of the picture
_FILL = re.compile(r"-(r\d+) \{ fill: (#[0-9a-fA-F]{6})")
_RECT = re.compile(
    r'<rect fill="(#[0-9a-fA-F]{6})" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"'
)
_TEXT = re.compile(
    r'<text class="[^"]*?-(r\d+)" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', re.DOTALL
)


class DrawnText(NamedTuple):
    """A text on the screen, its colour and what is behind it, as "#rrggbb"."""

    text: str
    colour: str
    ground: str

    @property
    def is_read(self) -> bool:
        """Whether it has letters or digits: bars, marks and lines have none."""
        return any(letter.isalnum() for letter in self.text)


def contrast(one: str, other: str) -> float:
    """Return the ratio of luminances of two colours, as WCAG 2.2 defines it.

    >>> contrast("#000000", "#ffffff"), round(contrast("#777777", "#ffffff"), 2)
    (21.0, 4.48)
    """
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def texts_of(picture: str) -> Iterator[DrawnText]:
    """Yield the texts of a screenshot that are not spaces alone."""
    fills = dict(_FILL.findall(picture))
    rects = [
        (colour, float(x), float(y), float(x) + float(width))
        for colour, x, y, width, _ in _RECT.findall(picture)
    ]
    for name, x, y, text in _TEXT.findall(picture):
        shown = unescape(text).replace("\xa0", " ")
        if not shown.strip():
            continue
        left = float(x) + _CELL * (len(shown) - len(shown.lstrip()))
        behind = [
            colour
            for colour, start, top, end in rects
            if start <= left + 1 < end and top <= float(y) < top + _LINE
        ]
        yield DrawnText(shown, fills[name], behind[-1])
