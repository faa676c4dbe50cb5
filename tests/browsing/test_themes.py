"""The dark ground and the light one: every text is legible, and a key changes them."""

from itertools import combinations

import pytest
from textual.pilot import Pilot

from explorer.browsing.app import BrowserApp
from explorer.browsing.themes import COMPONENT_WORDS, THEMES, ThemeName
from explorer.document.palette import COLOURS
from tests.browsing.contrast import contrast, texts_of
from tests.browsing.screens import browse, lines_of, settled
from tests.cli.in_process import run

NAMES: tuple[ThemeName, ...] = ("dark", "light")
READ, SEEN = 4.5, 3.0  # WCAG 2.2, 1.4.3 of texts and 1.4.11 of marks


@pytest.mark.parametrize("name", NAMES)
def test_every_colour_is_legible_on_its_grounds(name: ThemeName):
    theme = THEMES[name]
    grounds = (theme.ground, theme.raised, theme.cursor, theme.cursor_away)
    for word, colour in theme.words.items():
        assert contrast(colour, theme.ground) >= READ, word
        least = SEEN if word in COMPONENT_WORDS else READ
        assert min(contrast(colour, ground) for ground in grounds) >= least, word
    for kind, style in theme.kinds.items():
        assert contrast(style.split()[-1], theme.ground) >= READ, kind
    assert contrast(theme.accent, theme.ground) >= READ


def test_themes_have_the_same_words_and_every_component():
    dark, light = (THEMES[name] for name in NAMES)
    assert dark.words.keys() == light.words.keys() >= {*COLOURS, "other"}
    assert dark.kinds.keys() == light.kinds.keys()
    for theme in (dark, light):
        for one, other in combinations(COMPONENT_WORDS, 2):
            assert theme.words[one] != theme.words[other]


@pytest.mark.parametrize("size", [(132, 34), (80, 24)])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("targets", [["gpt2"], ["llama-2-7b", "llama-2-13b"]], ids=len)
def test_every_text_on_the_screen_is_legible(
    name: ThemeName, targets: list[str], size: tuple[int, int]
):
    theme, read = THEMES[name], set[str]()

    def look(app: BrowserApp, ground: str | None = None) -> None:
        """Check all texts but lines and scroll bars; or those on one ground alone."""
        found = [
            each
            for each in texts_of(app.export_screenshot())
            if theme.rule not in (each.colour, each.ground)
            and ground in (None, each.ground)
        ]
        assert len(found) > 10
        for each in found:
            least = READ if each.is_read else SEEN
            assert contrast(each.colour, each.ground) >= least, each
            read.add(each.ground)

    async def script(pilot: Pilot, app: BrowserApp) -> None:
        look(app)
        await pilot.press("down", "enter", "down", "s")
        await settled(pilot, app)
        look(app)
        await pilot.press("slash")
        look(app)
        await pilot.press(*"norm", "enter")
        look(app)
        await pilot.press("tab")
        look(app)
        await pilot.press("question_mark")
        await pilot.pause()
        look(app, theme.raised)  # what is behind it is faded

    browse(targets, script, size, name)
    assert {theme.ground, theme.raised, theme.cursor, theme.cursor_away} <= read


def test_a_key_changes_the_ground_and_nothing_else():
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await pilot.press(*["down"] * 4, "slash", *"norm", "enter")
        await settled(pilot, app)
        pictures = [app.export_screenshot()]
        for _ in range(2):
            await pilot.press("t")
            await settled(pilot, app)
            pictures.append(app.export_screenshot())
        dark, light, again = (
            {each for each in texts_of(one) if each.is_read} for one in pictures
        )
        assert dark == again
        assert {each.ground for each in dark}.isdisjoint({each.ground for each in light})
        assert {each.colour for each in dark}.isdisjoint({each.colour for each in light})
        assert lines_of(pictures[0]) == lines_of(pictures[1]) == lines_of(pictures[2])

    browse(["gpt2"], script, (132, 30))


def test_the_command_takes_a_theme_by_name():
    done = run("browse", "gpt2", "--theme", "lihgt")
    assert done.returncode == 2
    assert "light" in done.stderr
    assert "Traceback" not in done.stderr
    instead = run("browse", "gpt2", "--theme", "light").stderr  # no terminal here
    assert instead == run("browse", "gpt2").stderr
