"""Paths that the pages name exist."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks

TOP = {"benchmarks", "docs", "examples", "explorer", "tests"}
ROOMS = {path.name for path in (ROOT / "explorer").iterdir() if not path.suffix}
FILES = {path.name for top in TOP for path in (ROOT / top).rglob("*.py")}


def paths_in(page: str) -> list[str]:
    """Return what is in backticks and names a file or folder of the repository."""
    for block in reversed([*blocks(page, "console"), *blocks(page, "python")]):
        page = page[: block.start] + page[block.end :]
    words = re.findall(r"`([\w./-]+)`", page)
    return [
        word
        for word in words
        if ("/" in word and word.split("/")[0] in TOP | ROOMS) or word.endswith(".py")
    ]


def exists(word: str) -> bool:
    """Return whether it does; a word in capitals, as NAME, stands for any."""
    if "/" not in word:
        return word in FILES
    pattern = re.sub(r"(?<![A-Za-z])[A-Z]{3,}(?![A-Za-z])", "*", word).rstrip("/")
    return any(next(base.glob(pattern), None) for base in (ROOT, ROOT / "explorer"))


def test_a_path_that_does_not_exist_is_found():
    page = (
        "`explorer/nowhere.py`, `tests/NAME.md` and `training/step`, not `layers_0/kernel`"
    )
    assert paths_in(page) == ["explorer/nowhere.py", "tests/NAME.md", "training/step"]
    assert [*map(exists, paths_in(page))] == [False, False, True]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path):
    missing = [word for word in paths_in(page.read_text("utf-8")) if not exists(word)]
    assert not missing
