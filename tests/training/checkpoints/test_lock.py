"""A run folder is locked by one run at a time, however the process that holds it ends."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.errors import InputError
from explorer.training.checkpoints.lock import Lock
from explorer.training.checkpoints.run_folder import lock_run_folder

HOLD = """
import sys
from pathlib import Path
from explorer.training.checkpoints.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Return another process, once it has a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def refusal(folder: Path, process: int) -> str:
    return (
        f"{folder}: is in use by process {process} on {os.uname().nodename}; expected a "
        "folder that no run is using; wait for that run to end, or train into another folder"
    )


def test_a_second_is_refused_until_the_first_is_released(tmp_path: Path):
    lock = Lock(tmp_path)
    with pytest.raises(InputError) as caught:
        Lock(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: is in use by this very process; expected a folder that no run is "
        "using; close the Checkpoints that hold it, or train into another folder"
    )
    lock.release()
    Lock(tmp_path).release()
    assert os.listdir(tmp_path) == [".lock"]


def test_the_lock_of_a_killed_process_does_not_block_the_next(tmp_path: Path):
    with hold(tmp_path) as process:
        with pytest.raises(InputError) as caught:
            Lock(tmp_path)
        assert str(caught.value) == refusal(tmp_path, process.pid)
        process.kill()
    Lock(tmp_path).release()


def test_a_file_left_behind_is_not_a_lock(tmp_path: Path):
    (tmp_path / ".lock").write_text("process 1 on a machine of a longer name" + "e" * 200)
    lock = Lock(tmp_path)
    shown = (tmp_path / ".lock").read_text()
    assert shown == f"process {os.getpid()} on {os.uname().nodename}"
    lock.release()


def test_a_lock_that_nobody_refers_to_is_released(tmp_path: Path):
    lock = Lock(tmp_path)
    del lock
    Lock(tmp_path).release()


def test_a_holder_of_no_name_or_of_any_is_named_in_one_line(tmp_path: Path):
    lock = Lock(tmp_path)
    for name, shown in (("", "another process"), ("\x1b[31m\n", "\\x1b[31m\\n")):
        (tmp_path / ".lock").write_text(name)
        with pytest.raises(InputError, match="is in use by") as caught:
            Lock(tmp_path)
        assert f"is in use by {shown}; expected" in str(caught.value)
    lock.release()


def test_a_folder_that_is_refused_is_not_held(tmp_path: Path):
    lock_run_folder(tmp_path / "run", {"seed": 1}).release()
    with pytest.raises(InputError, match="is another run"):
        lock_run_folder(tmp_path / "run", {"seed": 2})
    lock = lock_run_folder(tmp_path / "run", {"seed": 1})
    before = sorted(os.listdir(tmp_path / "run"))
    with pytest.raises(InputError, match="is in use"):
        lock_run_folder(tmp_path / "run", {"seed": 2})
    assert sorted(os.listdir(tmp_path / "run")) == before == [".lock", "run.json"]
    lock.release()


def failing(number: int):
    def flock(file: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_there_are_not_locks_nobody_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    monkeypatch.setattr(fcntl, "flock", failing(number))
    one, other = Lock(tmp_path), Lock(tmp_path)
    one.release()
    other.release()


def test_a_disk_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    with pytest.raises(InputError) as caught:
        lock_run_folder(tmp_path / "run", {})
    assert str(caught.value) == (
        f"{tmp_path}/run: cannot be written to (Input/output error); expected a folder that "
        "this user may write to, with room; train into another folder"
    )
    monkeypatch.undo()
    lock_run_folder(tmp_path / "run", {}).release()
