"""The checkpoints of a run's folder, each whole or not there.

    runs/digits/run.json    what the run is, written once
    runs/digits/.lock       held by the run that trains in it
    runs/digits/400/        the state after 400 steps, as Orbax writes it, with record.json:
                            the data position, every tensor's shape, every file's checksum

Orbax writes in the background, into a folder that gets its name when it is whole. What is
read back is held against the checksums first: a flipped bit is found, not trained on.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax

from explorer.errors import FormatError, InputError
from explorer.training.checkpoints.lock import Lock
from explorer.training.checkpoints.manifest import (
    Record,
    describe,
    differences,
    read_record,
    seal,
)
from explorer.training.checkpoints.restoring import plain_of, shapes_for, state_from
from explorer.training.checkpoints.runs import claim
from explorer.training.checkpoints.tree_store import UNFINISHED, TreeStore, cannot
from explorer.training.sharding.processes import on_first, together

__all__ = ["Checkpoints", "Saved"]


class Saved(NamedTuple):
    """What was restored: a state, its step, the data position saved with it, remarks."""

    state: Any
    step: int
    data: Any
    remarks: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run; a context that waits for the last to be written.

    The folder is held for this run until the context ends: see `Lock`. Where several
    processes train one state, all of them make the same calls on one folder that all see.
    The first holds it, and does what is to be done once; what it finds, all are told.

    Args:
        folder: of the run; made where there is none.
        every: steps from one checkpoint to the next.
        keep: how many are kept, the newest.
        config: what the run is, as JSON has it. A folder that holds another run is refused.

    Raises:
        InputError: the folder has no name, belongs to something else, is in use or cannot
            be written to, or a number is not positive.
        MissingPackageError: Orbax is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        every: int = 100,
        keep: int = 3,
        config: Mapping[str, Any] | None = None,
    ):
        if not os.fspath(folder):  # it would be the current one
            raise InputError("folder", found="has no name", expected="a folder of the run")
        if min(every, keep) < 1:
            raise InputError(
                folder, found=f"every={every}, keep={keep}", expected="at least 1 of each"
            )
        self.folder, self.every, self.keep = Path(os.path.abspath(folder)), every, keep
        self._lock: Lock | None = None
        self._saving: Record | None = None
        self._store = TreeStore(self.folder, self._seal)
        try:
            on_first(partial(self._begin, config or {}))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or jax.process_count() == 1:
            self.close()
        else:  # the others, who know of no error, do not come to be told of anything
            self._end()

    def steps(self) -> list[int]:
        """Return the steps whose checkpoints are there, in order."""
        return sorted(int(n) for n in self._names() if n.isascii() and n.isdigit())

    def save(self, state: Any, data: Any = None) -> None:
        """Begin to write a state; its buffers may be donated to a step at once.

        Args:
            state: a pytree with `step`; nothing is done where that step is there already.
            data: a position, as JSON has it; of several processes, that of the first.

        Raises:
            InputError: the disk is full or the folder cannot be written to; it may be the
                save before this one that failed.
        """
        self.wait()
        step = int(state.step)
        if step in on_first(self.steps, list[int]):
            return
        self._saving = Record(step=step, data=data, tensors=describe(state))
        together(lambda: self._store.save(str(step), plain_of(state)))

    def has_failed(self) -> bool:
        """Return whether it is known by now that the last save failed; waits for nothing.

        It is what this process knows, and no error: `wait` raises it, on all processes.
        """
        return self._store.has_failed()

    def wait(self) -> None:
        """Wait until what was begun is on disk, then drop the checkpoints beyond `keep`.

        Raises:
            InputError: as `save`.
        """
        if self._saving is None:  # who only reads drops nothing
            return
        try:
            together(self._store.wait)
        except InputError:
            self._drop_half_written()
            raise
        finally:
            self._saving = None
        on_first(lambda: self._clear(map(str, self.steps()[: -self.keep])))

    def close(self) -> None:
        """Wait for the last save, stop the threads behind it and let go of the folder.

        Raises:
            InputError: as `save`.
        """
        try:
            self.wait()
        finally:
            self._end()

    def restore(self, like: Any) -> Saved | None:
        """Return the newest state that is whole; None where none was saved yet.

        A broken checkpoint is set aside as STEP.broken, and a remark says so.

        Args:
            like: a state of the shapes, formats and shardings to restore into: arrays or
                `jax.ShapeDtypeStruct`s.

        Raises:
            InputError: the checkpoint is of another model (what differs is named).
            FormatError: there are checkpoints, and all of them are broken.
        """
        remarks: list[str] = []
        for step in reversed(on_first(self.steps, list[int])):
            try:
                record = on_first(partial(self._record_of, step, like), Record)
                state = together(partial(self._read, step, like))
            except FormatError as error:  # on all processes, or on none
                on_first(partial(self._set_aside, step))
                remarks.append(f"{error}; it is set aside as {step}.broken")
                continue
            return Saved(state, step, record.data, tuple(remarks))
        if remarks:
            raise FormatError(
                self.folder,
                found=f"none of its checkpoints is whole ({remarks[0]})",
                cure="train into another folder",
            )
        return None

    def _begin(self, config: Mapping[str, Any]) -> None:
        self._lock = claim(self.folder, config)
        self._clear(name for name in self._names() if UNFINISHED in name)

    def _end(self) -> None:
        try:
            self._store.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    def _record_of(self, step: int, like: Any) -> Record:
        folder = self.folder / str(step)
        record = read_record(folder)
        if found := differences(record.tensors, describe(like)):
            raise InputError(
                folder,
                found=f"is of another model: {found}",
                expected="the tensors of the one that is trained",
                cure="train into another folder",
            )
        return record

    def _read(self, step: int, like: Any) -> Any:
        return state_from(self._store.restore(str(step), shapes_for(like)), like)

    def _seal(self) -> None:
        """Write the record into the folder that Orbax has filled and not yet named."""
        assert self._saving is not None, "something is being saved"
        step = str(self._saving.step)
        names = (n for n in self._names() if n == step or n.startswith(step + UNFINISHED))
        for name in names:
            seal(self.folder / name, self._saving)

    def _drop_half_written(self) -> None:
        """Make the room that a save took which failed; no more is told than that it did."""
        if self._saving is None or jax.process_index() != 0:
            return
        for name in self._names():
            if name.startswith(f"{self._saving.step}{UNFINISHED}"):
                # what cannot go now, as a part is still being written, goes at the next claim
                shutil.rmtree(self.folder / name, ignore_errors=True)

    def _set_aside(self, step: int) -> None:
        try:
            os.rename(self.folder / str(step), self.folder / f"{step}.broken")
        except OSError as error:
            raise cannot(f"set step {step} aside", self.folder, error) from None

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.folder)
        except OSError as error:
            raise cannot("be listed", self.folder, error) from None

    def _clear(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                shutil.rmtree(self.folder / name)
            except OSError as error:
                raise cannot(f"drop {name}", self.folder, error) from None
