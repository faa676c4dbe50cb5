"""Files are made where nothing is, and nothing that was there changes."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.errors import ExplorerError, InputError
from explorer.storage import writing
from tests.hostile_files import OBSTACLES, snapshot

RAW = b"what explorer writes"


def write_with(opened: Callable[[Path], int]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        file = opened(path)
        os.write(file, RAW)
        os.close(file)

    return write


def write_new(path: Path) -> None:
    with writing.open_new(path) as file:
        file.write(RAW)


MAKERS: dict[str, Callable[[Path], None]] = {
    "create_file": write_with(writing.create_file),
    "open_new": write_new,
    "open_own": write_with(writing.open_own),
    "publish": lambda path: writing.publish(path, RAW),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_where_nothing_is_a_file_is_made(maker: str, tmp_path: Path):
    MAKERS[maker](tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == RAW
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize("maker", MAKERS)
def test_what_is_there_is_not_changed(maker: str, obstacle: str, tmp_path: Path):
    """`open_own` opens a regular file of one name alone: its caller looks at the content."""
    path = tmp_path / "new"
    OBSTACLES[obstacle](path)
    before = snapshot(tmp_path)
    if maker == "open_own" and obstacle in ("a text", "an empty file"):
        os.close(writing.open_own(path))
    else:
        with pytest.raises((FileExistsError, InputError)):
            MAKERS[maker](path)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("obstacle", "found"),
    [
        ("a link", "is a link"),
        ("a link to nothing", "is a link"),
        ("a link to a device", "is a link"),
        ("a fifo", "is not a regular file"),
        ("a folder", "is not a regular file"),
        (
            "a second name",
            "has a second name (a hard link), under which it would change as well",
        ),
    ],
)
def test_what_is_not_written_through_is_said(obstacle: str, found: str, tmp_path: Path):
    path = tmp_path / "file"
    OBSTACLES[obstacle](path)
    for write in (writing.open_own, lambda path: writing.replace_file(path, RAW)):
        with pytest.raises(ExplorerError) as caught:
            write(path)
        assert str(caught.value) == (
            f"{path}: {found}; expected a file that explorer wrote, or none; move it away"
        )


def test_a_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"earlier")
    with path.open("rb") as reader:
        writing.replace_file(path, RAW)
        assert reader.read() == b"earlier"  # who reads it has the one or the other
    assert path.read_bytes() == RAW
    assert os.listdir(tmp_path) == ["file"]


def test_without_second_names_it_is_published_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def unsupported(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    writing.publish(tmp_path / "new", RAW)
    assert os.listdir(tmp_path) == ["new"]
    with pytest.raises(FileExistsError):
        writing.publish(tmp_path / "new", b"again")
    assert (tmp_path / "new").read_bytes() == RAW
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_name_that_is_taken_is_not_renamed_to(obstacle: str, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    OBSTACLES[obstacle](tmp_path / "taken")
    before = snapshot(tmp_path)
    with pytest.raises(FileExistsError):
        writing.rename_to_free(tmp_path / "folder", tmp_path / "taken")
    assert snapshot(tmp_path) == before


def test_links_in_a_deleted_folder_are_not_followed(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("years of work")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "link").symlink_to(tmp_path / "kept")
    writing.delete_folder(tmp_path / "gone")
    assert (tmp_path / "kept" / "thesis.txt").exists()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    with pytest.raises(OSError, match="it is not a folder"):
        writing.delete_folder(tmp_path / "link")
    assert (tmp_path / "kept" / "thesis.txt").exists()


def test_new_files_have_the_permissions_of_the_user(tmp_path: Path):
    before = os.umask(0o027)
    try:
        for name, make in MAKERS.items():
            make(tmp_path / name)
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
    finally:
        os.umask(before)
