"""The checkpoints of a run's folder, each whole or not there.

    runs/digits/run.json    what the run is, written once
    runs/digits/400/        the state after 400 steps, as Orbax writes it, with record.json:
                            the data position, every tensor's shape, every file's checksum

Orbax writes in the background, into a folder that gets its name when it is whole. What is
read back is held against the checksums first: a flipped bit is found, not trained on.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Self

import jax
from jax.experimental import multihost_utils

from explorer.errors import FormatError, InputError, MissingPackageError, printable
from explorer.training.record import Record, describe, differences, read_record, seal
from explorer.training.restoring import plain_of, shapes_for, state_from
from explorer.training.runs import claim

__all__ = ["Checkpoints", "Saved"]

_UNFINISHED = ".orbax-checkpoint-tmp"
_ITEM = "default"  # what Orbax calls the only tree of a step
# what Orbax lets through of the system's errors and of tensorstore's
_ORBAX_ERRORS = (OSError, ValueError, RuntimeError)


class Saved(NamedTuple):
    """What was restored: a state, its step, the data position saved with it, remarks."""

    state: Any
    step: int
    data: Any
    remarks: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run; a context that waits for the last to be written.

    Args:
        folder: of the run; made where there is none.
        every: steps from one checkpoint to the next.
        keep: how many are kept, the newest.
        config: what the run is, as JSON has it. A folder that holds another run is refused.

    Raises:
        InputError: the folder belongs to something else, cannot be written to, or a number
            is not positive.
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
        if min(every, keep) < 1:
            raise InputError(
                folder, found=f"every={every}, keep={keep}", expected="at least 1 of each"
            )
        self.folder, self.every, self.keep = Path(os.path.abspath(folder)), every, keep
        self._orbax = _orbax(self.folder)
        self._is_first = jax.process_index() == 0
        if self._is_first:
            claim(self.folder, config or {})
            self._clear(name for name in self._names() if _UNFINISHED in name)
        self._saving = Record(step=-1)
        self._checkpointer = self._orbax.AsyncCheckpointer(
            self._orbax.CompositeCheckpointHandler(_ITEM),
            async_options=self._orbax.options.AsyncOptions(
                post_finalization_callback=self._seal
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Return the steps whose checkpoints are there, in order."""
        return sorted(int(n) for n in self._names() if n.isascii() and n.isdigit())

    def save(self, state: Any, data: Any = None) -> None:
        """Begin to write a state; its buffers may be donated to a step at once.

        Args:
            state: a pytree with `step`; nothing is done where that step is there already.
            data: a position, as JSON has it.

        Raises:
            InputError: the disk is full or the folder cannot be written to; it may be the
                save before this one that failed.
        """
        self.wait()
        step = int(state.step)
        if step in self.steps():
            return
        self._saving = Record(step=step, data=data, tensors=describe(state))
        arguments = self._arguments(self._orbax.args.PyTreeSave(plain_of(state)))
        try:
            self._checkpointer.save(self.folder / str(step), args=arguments)
        except _ORBAX_ERRORS as error:
            raise self._failed(f"hold the checkpoint of step {step}", error) from None

    def wait(self) -> None:
        """Wait until what was begun is on disk, then drop the checkpoints beyond `keep`.

        Raises:
            InputError: as `save`.
        """
        try:
            self._checkpointer.wait_until_finished()
        except _ORBAX_ERRORS as error:
            step = self._saving.step
            raise self._failed(f"hold the checkpoint of step {step}", error) from None
        if self._is_first and self._saving.step >= 0:  # who only reads drops nothing
            self._clear(map(str, self.steps()[: -self.keep]))

    def close(self) -> None:
        """Wait for the last save and stop the threads behind it.

        Raises:
            InputError: as `save`.
        """
        try:
            self.wait()
        finally:
            self._checkpointer.close()

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
        for step in reversed(self.steps()):
            try:
                state, data = self._read(step, like)
            except FormatError as error:
                self._set_aside(step)
                remarks.append(f"{error}; it is set aside as {step}.broken")
                continue
            return Saved(state, step, data, tuple(remarks))
        if remarks:
            raise FormatError(
                self.folder,
                found=f"none of its checkpoints is whole ({remarks[0]})",
                cure="train into another folder",
            )
        return None

    def _read(self, step: int, like: Any) -> tuple[Any, Any]:
        folder = self.folder / str(step)
        record = read_record(folder)
        if found := differences(record.tensors, describe(like)):
            raise InputError(
                folder,
                found=f"is of another model: {found}",
                expected="the tensors of the one that is trained",
                cure="train into another folder",
            )
        plain = shapes_for(like)
        wanted = self._orbax.checkpoint_utils.construct_restore_args(plain)
        arguments = self._arguments(self._orbax.args.PyTreeRestore(plain, wanted))
        try:
            stored = self._checkpointer.restore(folder, args=arguments)
        except _ORBAX_ERRORS as error:
            raise FormatError(folder, found=f"Orbax cannot read it ({error})") from None
        return state_from(stored[_ITEM], like), record.data

    def _arguments(self, arguments: Any) -> Any:
        return self._orbax.args.Composite(**{_ITEM: arguments})

    def _seal(self) -> None:
        """Write the record into the folder that Orbax has filled and not yet named."""
        step = str(self._saving.step)
        names = (n for n in self._names() if n == step or n.startswith(step + _UNFINISHED))
        for name in names:
            seal(self.folder / name, self._saving)

    def _set_aside(self, step: int) -> None:
        if jax.process_count() > 1:  # all have found it broken before it moves
            multihost_utils.sync_global_devices(f"step {step} is broken")
        try:
            if self._is_first:
                os.rename(self.folder / str(step), self.folder / f"{step}.broken")
        except OSError as error:
            raise self._failed(f"set step {step} aside", error) from None

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.folder)
        except OSError as error:
            raise self._failed("be listed", error) from None

    def _clear(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                shutil.rmtree(self.folder / name)
            except OSError as error:
                raise self._failed(f"drop {name}", error) from None

    def _failed(self, what: str, error: BaseException) -> InputError:
        return InputError(
            self.folder,
            found=f"cannot {what} ({_reason(error)})",
            expected="a folder on a disk with room",
            cure="make room, or train into another folder",
        )


def _reason(error: BaseException) -> str:
    """Return what the system said, which tensorstore tells by its number."""
    number = re.search("os_error_code='([0-9]{1,4})'", str(error))
    if number:
        return os.strerror(int(number[1]))
    return getattr(error, "strerror", None) or printable(error)


def _orbax(place: Path) -> ModuleType:
    try:
        import orbax.checkpoint
    except ImportError:
        raise MissingPackageError(
            place,
            found="needs orbax-checkpoint, which is not installed",
            cure="pip install 'jax-explorer[orbax]'",
        ) from None
    return orbax.checkpoint
