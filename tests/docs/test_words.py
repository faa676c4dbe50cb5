"""The project is written in plain, current English with the field's terms.

What is listed here was once a private dialect; beside each phrase stands what to write instead.
Names are searched like prose: `_` separates words.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

INSTEAD = {
    r"held against": "checked against, compared with",
    r"told": "reported, named, given",
    r"tells of": "reports, says",
    r"(?<!there\x20)(is|are|was|were) no (?!longer|more|such)[a-z]+": "is not a ...",
    r"(?<!not\x20)say whether": "return whether",
    r"silent": "unset, not specified",
    r"dear(er|ly)?": "expensive",
    r"sights?": "attention inputs, masks",
    r"meetings?": "rules",
    r"the course of": "progress, curve",
    r"alike": "identical, equal, the same",
    r"apart(?! from)": "separately, split",
    r"(lies|lie)": "is stored, offset, placement",
    r"begun": "started, set up",
    r"wish(es)?": "request",
    r"looked at": "checked, read",
    r"hand(s|ed)? over": "pass, return",
    r"be it": "whether",
    r"it is said": "documented, reported",
    r"takes as long for": "takes the same time for",
    r"nobody knows": "unknown",
    r"whoever": "the one who, the process that",
    r"reckoned": "computed, expected",
    r"one at least": "at least one",
    r"sees? to(?! it)": "check, handle",
}
PATTERNS = {
    re.compile(rf"(?<![a-z]){words}(?![a-z])".replace(" ", r"[\s_]+"), re.IGNORECASE): cure
    for words, cure in INSTEAD.items()
}
FOLDERS = [
    *sorted(
        path for path in (ROOT / "explorer").iterdir() if (path / "__init__.py").exists()
    ),
    *(ROOT / name for name in ("docs", "examples", "benchmarks", "tests")),
]
CATALOG = ROOT / "explorer/architectures/catalog/data"  # whose notes are printed
NOT_PROSE = {Path(__file__), ROOT / "tests/data"}


def texts(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        is_prose = path.suffix in (".py", ".pyi", ".md", ".ipynb") or path.parent == CATALOG
        if is_prose and not NOT_PROSE & {path, *path.parents}:
            yield path


def found_in(path: Path) -> Iterator[str]:
    """Yield each phrase of a file with its line and what to write instead."""
    text = path.read_text("utf-8")
    for pattern, instead in PATTERNS.items():
        for match in pattern.finditer(text):
            line = 1 + text.count("\n", 0, match.start())
            yield f"{path.relative_to(ROOT)}:{line}: {match[0]!r}; write {instead}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_folder(folder: Path):
    found = [each for path in texts(folder) for each in found_in(path)]
    assert not found, "\n".join(found)


def test_top_level():
    pages = (*ROOT.glob("*.md"), *(ROOT / "explorer").glob("*.py"), ROOT / "Makefile")
    found = [each for path in pages for each in found_in(path)]
    assert not found, "\n".join(found)
