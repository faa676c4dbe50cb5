"""The colours of the browser on a dark ground and on a light one, each legible on its own.

Components have the hues of every other output; what is too near the ground is made lighter, or
darker.
"""

from typing import Literal, NamedTuple

from explorer.document.palette import COLOURS

__all__ = ["COMPONENT_WORDS", "THEMES", "Theme", "ThemeName"]

ThemeName = Literal["dark", "light"]
COMPONENT_WORDS = (*COLOURS, "other")


class Theme(NamedTuple):
    """Colours as "#rrggbb".

    Attributes:
        ground, raised: backgrounds: of everything, and of what stands out from it.
        cursor, cursor_away: backgrounds of the current row, while keys go there and else.
        rule: of lines and scroll bars.
        accent: of keys, and of the frame of what has the keys.
        words: of pieces of rows, by component or by what they are.
        kinds: styles of lines of details, by what they are.
    """

    ground: str
    raised: str
    cursor: str
    cursor_away: str
    rule: str
    accent: str
    words: dict[str, str]
    kinds: dict[str, str]


def _component_colours(**changed: str) -> dict[str, str]:
    return {word: colour.code for word, colour in COLOURS.items()} | changed


THEMES: dict[ThemeName, Theme] = {
    "dark": Theme(
        ground="#12161d",
        raised="#1c222c",
        cursor="#20304a",
        cursor_away="#262d38",
        rule="#39424f",
        accent="#56b4e9",
        words=_component_colours(embedding="#2e8fd0", other="#a0a8b0")
        | {
            "mark": "#a9b3c0",
            "name": "#e6e9ee",
            "number": "#ffffff",
            "dim": "#a9b3c0",
            "title": "#a9b3c0",
            "equal": "#929cab",
            "more": "#f0b35a",
            "less": "#56b4e9",
        },
        kinds={
            "title": "bold #ffffff",
            "head": "bold #56b4e9",
            "note": "#a9b3c0",
            "name": "#c8d0da",
            "picture": "#2fbf91",
        },
    ),
    "light": Theme(
        ground="#ffffff",
        raised="#eef1f5",
        cursor="#d3e3f8",
        cursor_away="#e4e8ee",
        rule="#b4bdc9",
        accent="#00588c",
        words=_component_colours(
            embedding="#00508c",
            attention="#946200",
            mlp="#00704f",
            experts="#a0417a",
            router="#a84300",
            norm="#1a6fa3",
            head="#5f5800",
            other="#5b646f",
        )
        | {
            "mark": "#4d5764",
            "name": "#1a2029",
            "number": "#000000",
            "dim": "#4d5764",
            "title": "#4d5764",
            "equal": "#5b646f",
            "more": "#8a4b00",
            "less": "#00588c",
        },
        kinds={
            "title": "bold #000000",
            "head": "bold #00588c",
            "note": "#4d5764",
            "name": "#303946",
            "picture": "#00704f",
        },
    ),
}
