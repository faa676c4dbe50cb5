"""What the code of a TorchScript archive declares: parameters and buffers, by class.

The code is searched as text and never compiled.
"""

import re
from collections.abc import Callable

from explorer.errors import FormatError

__all__ = ["Declared", "declared_classes"]

MAX_NAMES = 200_000  # of parameters and buffers that code declares

Declared = tuple[frozenset[str], frozenset[str]]

_CLASS = re.compile(
    r"^class (\w+)\(Module\):\n  __parameters__ = \[(.*)\]\n  __buffers__ = \[(.*)\]$",
    re.MULTILINE,
)
_QUOTED = re.compile(r'"([^"]*)"')


def declared_classes(
    path: str, read: Callable[[str], bytes]
) -> Callable[[str], Declared | None]:
    """Return the function from a TorchScript class to what its source text declares.

    Args:
        path: what errors call the file.
        read: returns a file of the archive, or nothing.

    Raises:
        FormatError: from the function, where the code declares too many names.
    """
    files: dict[str, dict[str, Declared]] = {}
    count = 0

    def names(text: str) -> frozenset[str]:
        nonlocal count
        count += text.count('"') // 2
        if count > MAX_NAMES:
            raise FormatError(
                path, found=f"declares more than {MAX_NAMES:,} names in its code"
            )
        return frozenset(_QUOTED.findall(text))

    def declared(name: str) -> Declared | None:
        module, _, of = name.rpartition(".")
        if module not in files:
            source = read(f"code/{module.replace('.', '/')}.py").decode("utf-8", "replace")
            files[module] = {
                found[1]: (names(found[2]), names(found[3]))
                for found in _CLASS.finditer(source)
            }
        return files[module].get(of)

    return declared
