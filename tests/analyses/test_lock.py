"""A lock says the paths, shapes and dtypes of an inventory, whatever its names are."""

import numpy as np
import pytest

from explorer.analyses.comparison import compare
from explorer.analyses.lock import lock_text, parse_lock
from explorer.api.structure import explore
from explorer.errors import FormatError

NAMES = (
    "kernel",
    "a b",
    "é",
    '"',
    "#",
    "line\nbreak",
    "\x1b[31m",
    "[3]",
    "x" * 1000,
    "\ud800",
)
TREE = {
    name: np.zeros(tuple(range(index % 4)), ("float32", "int8", "float16")[index % 3])
    for index, name in enumerate(NAMES)
}


def test_a_lock_is_one_readable_line_a_tensor():
    tree = {
        "dense": {"kernel": np.zeros((4, 3), np.float32), "bias": np.zeros((), np.int8)}
    }
    assert lock_text(explore(tree)).splitlines() == [
        "# explorer lock 1",
        "int8[] dense/bias",
        "float32[4,3] dense/kernel",
    ]


def test_what_is_parsed_is_what_was_written():
    inventory = explore(TREE)
    parsed = parse_lock(lock_text(inventory), "params.lock")
    assert [(t.path, t.shape, t.dtype) for t in parsed] == [
        (t.path, t.shape, t.dtype) for t in inventory
    ]
    assert compare(parsed, inventory).identical
    assert (
        parse_lock(lock_text(inventory).replace("\n", "\r\n"), "x").tensors
        == parsed.tensors
    )


def test_each_line_of_a_lock_is_printable():
    for line in lock_text(explore(TREE)).splitlines():
        assert line.isascii()
        assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "params.lock: starts with ''; expected '# explorer lock 1'"),
        ("# explorer lock 1\nkernel\n", "params.lock:2: 'kernel'; expected a line such as"),
        (
            "# explorer lock 1\n\nf[1,,2] a\n",
            "params.lock:3: 'f[1,,2] a'; expected a lock line",
        ),
    ],
)
def test_what_is_not_a_lock_is_refused_by_its_line(text: str, message: str):
    with pytest.raises(FormatError) as caught:
        parse_lock(text, "params.lock")
    assert str(caught.value).startswith(message)
