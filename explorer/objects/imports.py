"""`package.module:attribute` targets: the only place that imports the user's code."""

import os
import re
import sys
from importlib import import_module
from typing import Any

from explorer.errors import InputError, printable

__all__ = ["import_attribute", "looks_importable"]

_IMPORTABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def looks_importable(target: str) -> bool:
    """Return whether a target has the form `package.module:attribute`.

    >>> looks_importable("my.models:gpt"), looks_importable("model.safetensors")
    (True, False)
    """
    return _IMPORTABLE.fullmatch(target) is not None


def import_attribute(target: str) -> Any:
    """Import what `package.module:attribute` names; call it when it is a function.

    Raises:
        InputError: the module or attribute is missing, or its code raises.
    """
    module_name, _, attribute = target.partition(":")
    if os.getcwd() not in sys.path:  # as `python -m` does
        sys.path.insert(0, os.getcwd())
    found: Any = None
    try:
        found = import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
        is_factory = callable(found) and not hasattr(found, "init")
        return found() if is_factory and not _holds_arrays(found) else found
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        line = printable(f"{type(error).__name__}: {error}".split("\n")[0], 200)
        if isinstance(found, type):
            raise InputError(
                target,
                found=f"is a class that is not made without arguments ({line})",
                expected="a model, or a function that returns one",
                cure="assign an instance to a name of the module, and give that",
            ) from error
        raise InputError(target, found=f"cannot be imported ({line})") from error


def _holds_arrays(found: Any) -> bool:
    """Return whether a callable is a model itself, not a function that makes one."""
    return not isinstance(found, type) and not hasattr(found, "__code__")
