"""A tree of arrays as Orbax stores it: written in the background, read to where it belongs.

Where there are several processes, each writes its own parts and reads what it needs; they
wait for each other at barriers with a time limit, on no device, so that one which fails
fails alone and can say so.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from explorer.errors import FormatError, InputError, MissingPackageError, printable

__all__ = ["UNFINISHED", "TreeStore", "cannot"]

# in the name of a folder that is not whole yet
UNFINISHED = ".orbax-checkpoint-tmp"
_ITEM = "default"  # what Orbax calls the only tree of a folder
# what Orbax lets through of the system's errors, of tensorstore's and of the barriers'
_ERRORS = (OSError, ValueError, RuntimeError)


class TreeStore:
    """Writes trees into folders of a place, and reads them back; one at a time.

    Args:
        place: where the folders are, which all processes see.
        seal: is called on the first process when all have written, before the folder gets
            its name.

    Raises:
        MissingPackageError: Orbax is not installed.
    """

    def __init__(self, place: Path, seal: Callable[[], None]):
        self._place, self._saving, self._orbax = place, "", _orbax(place)
        self._failure: Exception | None = None
        options, processes = self._orbax.options, jax.process_count()
        several = options.MultiprocessingOptions(
            # named, they meet at the barriers of jax.distributed and not on the devices
            active_processes=set(range(processes)) if processes > 1 else None
        )
        self._checkpointer = self._orbax.AsyncCheckpointer(
            self._orbax.CompositeCheckpointHandler(
                _ITEM,
                composite_options=self._orbax.CompositeOptions(
                    multiprocessing_options=several
                ),
            ),
            async_options=options.AsyncOptions(post_finalization_callback=seal),
            multiprocessing_options=several,
        )

    def save(self, name: str, tree: Any) -> None:
        """Begin to write a tree, whose buffers may be donated to a step at once.

        Raises:
            InputError: the disk is full or the place cannot be written to.
        """
        self._saving = name
        arguments = self._arguments(self._orbax.args.PyTreeSave(tree))
        try:
            self._checkpointer.save(self._place / name, args=arguments)
        except _ERRORS as error:
            raise self._cannot_hold(error) from None

    def has_failed(self) -> bool:
        """Return whether it is known by now that what was begun cannot be written.

        It waits for nothing; `wait` raises what is known.
        """
        try:
            self._checkpointer.check_for_errors()
        except _ERRORS as error:  # told but once
            self._failure = error
        return self._failure is not None

    def wait(self) -> None:
        """Wait until what was begun is written.

        Raises:
            InputError: as `save`.
        """
        self.has_failed()
        failure, self._failure = self._failure, None
        try:
            self._checkpointer.wait_until_finished()
        except _ERRORS as error:
            failure = error
        if failure is not None:
            raise self._cannot_hold(failure) from None

    def restore(self, name: str, shapes: Any) -> Any:
        """Return a tree, each array where its shape says.

        Raises:
            FormatError: it cannot be read.
        """
        wanted = self._orbax.checkpoint_utils.construct_restore_args(shapes)
        arguments = self._arguments(self._orbax.args.PyTreeRestore(shapes, wanted))
        folder = self._place / name
        try:
            return self._checkpointer.restore(folder, args=arguments)[_ITEM]
        except _ERRORS as error:
            raise FormatError(folder, found=f"Orbax cannot read it ({error})") from None

    def close(self) -> None:
        """Wait as `wait` does, and stop the threads that write."""
        try:
            self.wait()
        finally:
            self._checkpointer.close()

    def _cannot_hold(self, error: BaseException) -> InputError:
        return cannot(f"hold the checkpoint of step {self._saving}", self._place, error)

    def _arguments(self, arguments: Any) -> Any:
        return self._orbax.args.Composite(**{_ITEM: arguments})


def cannot(what: str, place: Path, error: BaseException) -> InputError:
    """Return the error of a place that cannot do something because of another error."""
    return InputError(
        place,
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
