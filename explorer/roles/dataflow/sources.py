"""The line of the user's code that an operation comes from."""

import os
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

__all__ = ["is_of_library", "source_of"]

# libraries with frames between a layer and its operations; libraries of layers
_BELOW = ("jax", "jaxlib", "chex", "jaxtyping", "contextlib")
_LAYERS = ("flax", "haiku", "equinox", "optax")


def source_of(eqn: Any) -> str:
    """Return "file.py:12 (function)" of an operation: in the user's code or, if a library's
    layer is the entire model, in the layer. Empty if nothing is known."""
    traceback = eqn.source_info.traceback
    if traceback is None:
        return ""
    layer = None
    for code, instruction in zip(*traceback.raw_frames(), strict=True):
        if not is_of_library(code.co_filename):
            return _place(code, instruction)
        if layer is None and not _is_below(code.co_filename):
            layer = _place(code, instruction)
    return layer or ""


@cache
def is_of_library(filename: str) -> bool:
    """Return whether a file belongs to a library that models are written with."""
    return _is_below(filename) or filename.startswith(_folders(_LAYERS))


@cache
def _is_below(filename: str) -> bool:
    return filename.startswith(("<frozen", os.path.dirname(__file__), *_folders(_BELOW)))


@cache
def _folders(libraries: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_installed(libraries))


def _installed(libraries: tuple[str, ...]) -> Iterator[str]:
    for name in libraries:
        spec = find_spec(name)
        if spec is not None and spec.origin:
            package = spec.submodule_search_locations
            yield os.path.dirname(spec.origin) + os.sep if package else spec.origin


@lru_cache(maxsize=4096)
def _place(code: Any, instruction: int) -> str:
    name = os.path.basename(code.co_filename)
    return f"{name}:{_line(code, instruction)} ({code.co_name})"


def _line(code: Any, instruction: int) -> int:
    """Return the line of a frame's instruction (in bytes, as tracebacks count them)."""
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            return number
    return code.co_firstlineno
