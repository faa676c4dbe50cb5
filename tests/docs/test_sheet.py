"""The generated blocks of the pages are as `make sheet` writes them."""

from pathlib import Path

import pytest

from tests.docs import picture
from tests.docs.pages import PAGES, ROOT
from tests.docs.sheet import GENERATED, regenerated


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_blocks_are_current(page: Path):
    text = page.read_text("utf-8")
    assert regenerated(text) == text, "run `make sheet`"


def test_every_generated_block_is_on_a_page():
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    for name in GENERATED:
        assert f"<!-- generated: {name} -->" in pages, name


def test_the_picture_is_current():
    assert picture.FILE.read_text("utf-8") == picture.drawn(), "run `make refresh`"


def test_tests_mirror_the_rooms():
    """A folder of tests is named as the room that it tests."""
    beside = {"conformance", "data", "docs", "fuzz", "real"}
    for folder in {
        path.parent.relative_to(ROOT / "tests")
        for path in (ROOT / "tests").rglob("test_*.py")
    }:
        if folder.parts and folder.parts[0] not in beside:
            room = ROOT / "explorer" / folder
            assert room.is_dir() or room.with_suffix(".py").is_file(), folder
