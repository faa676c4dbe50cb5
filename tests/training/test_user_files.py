"""No writer changes what it did not write, goes through a link to it, or waits for a fifo."""

import errno
import io
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import explorer as ex
from explorer.errors import ExplorerError
from explorer.storage.journal import Journal
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.checkpoints.lock import Lock
from explorer.training.checkpoints.manifest import Manifest, write_manifest
from explorer.training.logging.curves import StepRecord
from explorer.training.logging.events import EventWriter
from explorer.training.logging.history import History
from explorer.training.logging.jsonl import JsonlWriter
from tests.cli.in_process import run
from tests.hostile_files import OBSTACLES, snapshot
from tests.training import tiny

OPTIMIZER = optax.sgd(0.1)


def state_at(step: int) -> Any:
    return tiny.network_state(OPTIMIZER).replace(step=jnp.int32(step))


def history() -> History:
    filled = History(run="digits")
    filled.append(1, {"loss": 2.5})
    return filled


def write_lines(path: Path) -> None:
    with JsonlWriter(path, run="digits", after=0) as writer:
        writer.write(StepRecord(1, {"loss": 2.5}))


def write_events(folder: Path) -> None:
    with EventWriter(folder, clock=lambda: 0) as writer:
        writer.write(StepRecord(1, {"loss": 2.5}))


def save_step(path: Path) -> None:
    """Save the step whose number is the name, beside what is there."""
    with Checkpoints(path.parent, every=1) as checkpoints:
        checkpoints.save(state_at(int(path.name)))


def begin_run(folder: Path) -> None:
    Checkpoints(folder).close()


def make_run(path: Path) -> None:
    begin_run(path.parent)


def broken_run(path: Path) -> None:
    save_step(path.with_name("3"))
    (path.with_name("3") / "manifest.json").unlink()


def restore(path: Path) -> None:
    with Checkpoints(path.parent) as checkpoints:
        checkpoints.restore(state_at(0))


def tree(scale: float = 1.0) -> dict[str, Any]:
    return {"dense": {"kernel": scale * np.eye(8, dtype=np.float32)}}


def write_journal(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(b"sums")


class Case(NamedTuple):
    """What is there before, how it is written, and the name that something else has."""

    file: str
    name: str
    write: Callable[[Path], object]
    before: Callable[[Path], object] | None = None


# by the file of explorer whose call of `storage.writing` is tried
WRITERS = {
    "lock": Case("training.checkpoints.lock", ".lock", lambda p: Lock(p.parent).release()),
    "lock of a run": Case("training.checkpoints.lock", ".lock", make_run),
    "config": Case("training.checkpoints.run_folder", "run.json", make_run),
    "unfinished config": Case(
        "training.checkpoints.run_folder", f".run.json.{os.getpid()}.0", make_run
    ),
    "config as it was made": Case("training.checkpoints.run_folder", ".run.json", make_run),
    "folder of a run": Case("training.checkpoints.run_folder", "run", begin_run),
    "manifest": Case(
        "training.checkpoints.manifest",
        "manifest.json",
        lambda path: write_manifest(path.parent, Manifest(step=1)),
    ),
    "step": Case("training.checkpoints.step_folders", "3", save_step, make_run),
    "unfinished step": Case(
        "training.checkpoints.step_folders",
        "3.orbax-checkpoint-tmp",
        lambda path: save_step(path.with_name("3")),
        make_run,
    ),
    "step that is set aside": Case(
        "training.checkpoints.step_folders", "3.broken", restore, broken_run
    ),
    "lines": Case("training.logging.jsonl", "history.jsonl", write_lines),
    "history as lines": Case(
        "training.logging.jsonl", "history.jsonl", lambda path: history().to_jsonl(path)
    ),
    "folder of events": Case("training.logging.events", "events", write_events),
    "events": Case(
        "training.logging.events",
        f"events.out.tfevents.0000000000.explorer.{os.getpid()}.0",
        lambda path: write_events(path.parent),
    ),
    "plot": Case(
        "document.figures", "run.png", lambda path: history().plot(path)
    ),
    "report": Case("api.reporting", "model.html", lambda path: ex.report(tree(), path=path)),
    "converted file": Case("conversion.writing", "m.npz", lambda path: ex.save(tree(), path)),
    "converted folder": Case("conversion.writing", "model", lambda path: ex.save(
        tree(), path, format="safetensors")),
    "what was learned": Case("values.learned", "learned.json", lambda path: ex.learned(
        tree(), tree(2.0)).save(path)),
    "pass": Case("storage.journal", "stats.pass", write_journal),
    "adapters": Case("transforms.adapters.peft_files", "adapter", lambda path: ex.save_lora(
        ex.add_lora(tree(), 1, "dense")[0], path)),
}  # fmt: skip
# what explorer may take for its own: nothing is lost in an empty file; and a run, events and
# checkpoints go into a folder, which a user may give by a link
ALLOWED = {
    ("lock", "an empty file"), ("lock of a run", "an empty file"), ("lines", "an empty file"),
    ("history as lines", "an empty file"), ("unfinished step", "a folder"),
    ("pass", "an empty file"),
}  # fmt: skip


def test_every_file_that_writes_is_tried():
    package = Path(ex.__file__).parent
    importing = {
        ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        if re.search(r"from explorer\.storage\.writing import", path.read_text("utf-8"))
    }
    assert importing == {case.file for case in WRITERS.values()}


@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_of_the_user_is_changed(writer: str, obstacle: str, tmp_path: Path):
    case, folder = WRITERS[writer], tmp_path / "folder"
    folder.mkdir()
    path = folder / case.name
    if case.before:
        case.before(path)
    there = set(snapshot(tmp_path))
    OBSTACLES[obstacle](path)
    before = snapshot(tmp_path)
    with suppress(ExplorerError, FileExistsError):  # the manifest's is Orbax's to report
        case.write(path)
    after = snapshot(tmp_path)
    if (writer, obstacle) not in ALLOWED:
        for name in before.keys() - there:
            assert after.get(name) == before[name], name


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond 64 bytes: the system refuses as it does on a full disk.

    Not a fixture, during which a file to which pytest prints would not grow.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


COMPLETE_OR_ABSENT = [
    "plot",
    "report",
    "converted file",
    "converted folder",
    "what was learned",
    "adapters",
]


@pytest.mark.parametrize("writer", COMPLETE_OR_ABSENT)
def test_a_full_disk_is_one_line_and_leaves_nothing(writer: str, tmp_path: Path):
    case = WRITERS[writer]
    with pytest.raises(ExplorerError, match="File too large") as caught, full_disk():
        case.write(tmp_path / case.name)
    assert str(caught.value).startswith(f"{tmp_path / case.name}: ")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES], ids=["read-only", "denied"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_that_cannot_be_written(
    writer: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    case, folder = WRITERS[writer], tmp_path / "folder"
    folder.mkdir()
    path = folder / case.name
    if case.before:
        case.before(path)
    before = snapshot(tmp_path)
    refuse_changes(folder, number, monkeypatch)
    is_inner = writer in ("manifest", "lock", "pass")  # to which their callers add a place
    kinds = (ExplorerError, OSError) if is_inner else ExplorerError
    with pytest.raises(kinds) as caught:
        case.write(path)
    assert os.strerror(number) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before


def refuse_changes(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system refuse what would change a folder, as for one that may only be read."""

    def refusing(name: str, changes: Callable[..., bool]) -> None:
        real = getattr(os, name)

        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            inside = isinstance(path, str | Path) and Path(path).is_relative_to(folder)
            if inside and changes(*args):
                raise OSError(number, os.strerror(number), str(path))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(os, name, call)

    writing = os.O_WRONLY | os.O_RDWR
    refusing("open", lambda flags, *_: bool(flags & writing))
    for name in ("mkdir", "rmdir", "unlink", "link", "rename", "replace"):
        refusing(name, lambda *_: True)


@pytest.mark.parametrize("writer", COMPLETE_OR_ABSENT)
def test_memory_that_ends_while_it_is_written(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    case = WRITERS[writer]

    class Failing(io.BufferedWriter):
        def write(self, raw: Any) -> int:
            super().write(bytes(raw)[:64])
            raise MemoryError

    monkeypatch.setattr(
        "explorer.storage.writing.open",
        lambda file, mode: Failing(io.FileIO(file, mode)),
        raising=False,
    )
    with pytest.raises(MemoryError):  # of which the command makes one line
        case.write(tmp_path / case.name)
    assert os.listdir(tmp_path) == []


REFUSALS = {
    ".lock": (
        "a link",
        "is a link; expected a file that explorer wrote, or none; move it away",
    ),
    ".lock of another": (
        "a text",
        "is not a lock that explorer wrote; expected the lock of a run, or no file of this "
        "name; move it away, or train into another folder",
    ),
    "run.json": (
        "a fifo",
        "is not a regular file; train into another folder",
    ),
    "run.json of a device": (
        "a link to a device",
        "is not a regular file; train into another folder",
    ),
    "run.json of nothing": (
        "a link to nothing",
        "cannot be read: No such file or directory; train into another folder",
    ),
    "history.jsonl": (
        "a link",
        "is a link; expected a file that explorer wrote, or none; move it away",
    ),
    "history.jsonl of another": (
        "a second name",
        "has a second name (a hard link), under which it would change as well; expected a "
        "file that explorer wrote, or none; move it away",
    ),
    "200": (
        "a text",
        "is not a folder; expected the checkpoint of step 200, or nothing of this name; move "
        "it away",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_command_says_so_in_one_line(case: str, tmp_path: Path):
    obstacle, message = REFUSALS[case]
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / case.split()[0]
    if path.name in ("history.jsonl", "200"):  # beside the config of a run
        (folder / "run.json").write_bytes(_config(tmp_path))
    OBSTACLES[obstacle](path)
    (folder / "thesis.txt").exists() and (folder / "thesis.txt").rename(tmp_path / "mine")
    if obstacle == "a link":
        path.unlink()
        path.symlink_to(tmp_path / "mine")
    before = snapshot(tmp_path)
    done = run("train", "linear", "--set", "steps=2", "--out", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"explorer: {path}: {message}"
    after = snapshot(tmp_path)
    assert {name: after.get(name) for name in before} == before


def _config(folder: Path) -> bytes:
    run("train", "linear", "--set", "steps=2", "--out", folder / "other")
    return (folder / "other" / "run.json").read_bytes()


def test_a_plot_is_replaced_by_a_plot_alone(tmp_path: Path):
    path = tmp_path / "run.png"
    history().plot(path)
    first = path.read_bytes()
    again = history()
    again.append(2, {"loss": 1.0})
    again.plot(path)
    assert path.read_bytes() != first
    path.write_bytes(b"\x89PNG of a wedding")
    with pytest.raises(ExplorerError) as caught:
        again.plot(path)
    assert str(caught.value) == (
        f"{path}: is there already; expected an earlier plot of explorer's, or a free name; "
        "choose another .png, .svg or .pdf"
    )
    assert path.read_bytes() == b"\x89PNG of a wedding"
    assert os.listdir(tmp_path) == ["run.png"]
