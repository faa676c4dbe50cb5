"""The screen of a browser under textual's pilot, as lines of text."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from html import unescape

from textual.pilot import Pilot

from explorer.browsing.app import BrowserApp
from explorer.browsing.subject import browsed
from explorer.browsing.themes import ThemeName

__all__ = ["browse", "lines_of", "settled"]

_TEXT = re.compile(
    r'<text class="[^"]*" x="([\d.]+)" y="[\d.]+" textLength="[\d.]+" clip-path="url\(#.*?-line-(\d+)\)">(.*?)</text>',
    re.DOTALL,
)
_CELL = 12.2  # units of the picture for one cell


def browse(
    targets: list[str],
    script: Callable[[Pilot, BrowserApp], Awaitable[None]],
    size: tuple[int, int] = (110, 24),
    theme: ThemeName = "dark",
) -> BrowserApp:
    """Run a browser headless, and a script of keys and checks in it."""

    async def run() -> BrowserApp:
        app = BrowserApp([browsed(name) for name in targets], theme)
        async with app.run_test(size=size) as pilot:
            await settled(pilot, app)
            await script(pilot, app)
        return app

    return asyncio.run(run())


async def settled(pilot: Pilot, app: BrowserApp) -> None:
    """Wait until what runs in threads has ended, and is shown."""
    await app.workers.wait_for_complete()
    await pilot.pause()


def lines_of(picture: str) -> list[str]:
    """Return the lines of text of a screenshot, each text at its place."""
    lines: dict[int, str] = {}
    for x, number, text in _TEXT.findall(picture):
        before = lines.get(int(number), "")
        shown = unescape(text).replace("\xa0", " ")
        lines[int(number)] = before.ljust(round(float(x) / _CELL)) + shown
    return [lines.get(number, "").rstrip() for number in range(max(lines) + 1)]
