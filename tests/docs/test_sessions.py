"""What the Markdown pages show is what commands print and what Python answers."""

import doctest
import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, examples, run, sessions

SESSIONS = [
    pytest.param(session, id=f"{page.name}: {session.command}")
    for page in PAGES
    for session in sessions(page.read_text("utf-8"))
]


@pytest.mark.parametrize("session", SESSIONS)
def test_command(session):
    done = run(session.command)
    assert done.stderr == ""
    assert lines(done.stdout) == lines(session.output)


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python(page: Path, monkeypatch: pytest.MonkeyPatch):
    """The Python blocks of a page are one session, and every one of them shows a result."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    found = list(examples(page.read_text("utf-8")))
    assert all(shown for _, shown in found)
    together = [example for _, shown in found for example in shown]
    test = doctest.DocTest(
        together, {"__name__": "__main__"}, page.name, str(page), 0, None
    )
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test).failed == 0


def test_the_readme_has_sessions_and_is_short():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(readme.splitlines()) <= 150
    assert list(sessions(readme))
    assert any(shown for _, shown in examples(readme))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    """Links between pages name files and headings that exist."""
    text = page.read_text("utf-8")
    for block in reversed([*blocks(text, "console"), *blocks(text, "python")]):
        text = text[: block.start] + text[block.end :]
    links = re.findall(r"\]\(([^)#\s]*)(?:#([\w-]+))?\)", text)
    links += [(source, "") for source in re.findall(r'src="([^"]+)"', text)]
    for target, heading in links:
        if "://" in target:
            continue
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", place.read_text("utf-8"), re.MULTILINE)
            assert heading in {anchor(title) for title in titles}, f"{target}#{heading}"


def anchor(title: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
