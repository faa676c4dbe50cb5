"""The error of a target that has shapes alone where values are needed."""

from explorer.errors import TreeError, printable
from explorer.targets.records import ArchitectureTarget, Target

__all__ = ["no_values"]

_EXPECTED = "a checkpoint, or a tree or a module that holds arrays"
_CURE = (
    "name the file or the folder of its weights; `explorer show` counts what shapes decide"
)


def no_values(target: Target, cure: str = _CURE) -> TreeError:
    """Return the error that names a target by its own name.

    >>> from explorer.targets import resolve
    >>> str(no_values(resolve("gpt2"), "name its weights"))
    'gpt2: has shapes and no values; expected a checkpoint, or a tree or a module that holds \
arrays; name its weights'
    """
    if isinstance(target, ArchitectureTarget):
        name = target.known.name or target.known.architecture.class_name
    else:
        name = getattr(target, "name", "") or getattr(target, "target", "")
    return TreeError(
        printable(name, 200) if name else type(target).__name__,
        found="has shapes and no values",
        expected=_EXPECTED,
        cure=cure,
    )
