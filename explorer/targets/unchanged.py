"""A checkpoint that is written while it is read: noticed, and refused."""

from collections.abc import Callable
from typing import Any

from explorer.errors import InputError, TargetError

__all__ = ["Unchanged", "stamps_of"]


def stamps_of(path: str) -> dict[str, dict[str, tuple[int, int]]]:
    """Return sizes and times of change of what holds a checkpoint's arrays, not of logs beside it.

    Raises:
        TargetError: one of the files cannot be read.
    """
    from explorer.formats.files import sources_of_path
    from explorer.storage.local import stamps

    return {source: stamps(source) for source in sources_of_path(path)}


class Unchanged:
    """The files of a checkpoint as they were when this was made.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: str):
        self.path = path
        self.stamps = stamps_of(path)

    def check(self) -> None:
        """Refuse what was written since.

        Raises:
            TargetError: it was.
        """
        if _now(lambda: stamps_of(self.path)) != self.stamps:
            raise self._changed()

    def glance(self) -> None:
        """Refuse what was written since, of sources that are files: in a few microseconds.

        Raises:
            TargetError: one of them was.
        """
        from explorer.storage.local import stamps

        for source, before in self.stamps.items():
            if "" in before and _now(lambda s=source: stamps(s)) != before:
                raise self._changed()

    def _changed(self) -> TargetError:
        return TargetError(
            self.path,
            found="changed while it was read: what was read of it is of no one state",
            cure="wait until it is written, and run again",
        )


def _now(stamps: Callable[[], Any]) -> Any:
    """Return stamps, or None where the files are not what they were and cannot be read."""
    try:
        return stamps()
    except InputError:
        return None
