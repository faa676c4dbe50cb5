"""Tensors are asked for before they are read, and not all at once."""

import numpy as np
import pytest

from explorer.pretrained import leaves
from explorer.pretrained.parts import LeafParts
from explorer.storage import pages


def test_each_tensor_is_asked_for_before_it_is_read(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(pages, "read_ahead", lambda array: asked.append(array.nbytes))
    monkeypatch.setattr(leaves, "_AHEAD", 1000)
    tensors = {str(n): np.zeros(100 + n, np.uint8) for n in range(50)}
    sizes, read = [each.nbytes for each in tensors.values()], 0
    ahead = leaves._read_ahead({**tensors, "7": None}, list(tensors))  # pyright: ignore
    del sizes[7]
    for name, tensor in tensors.items():
        next(ahead)
        read += tensor.nbytes if name != "7" else 0
        assert sum(asked) >= read
        assert sum(asked) - read <= 1000 + max(sizes)
    assert asked == sizes


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 7)])
def test_memory_of_a_leaf_is_aligned(shape: tuple[int, ...]):
    """So that a CPU's arrays are over it, and no copy of it."""
    parts = LeafParts(shape, np.dtype("float32"))
    (memory,) = parts._parts.values()
    parts.write((), np.ones(shape, np.float32))
    array = parts.array()
    np.testing.assert_array_equal(array, np.ones(shape))
    if memory.size:  # an empty one has no memory
        assert memory.ctypes.data % 64 == 0
        assert array.unsafe_buffer_pointer() == memory.ctypes.data
