"""Parts of an epoch: every example once over all processes, whatever divides it."""

import numpy as np
import pytest

from explorer.errors import InputError
from explorer.training import Arrays, Epoch


@pytest.mark.parametrize("examples", [1, 2, 7, 12, 25])
@pytest.mark.parametrize(
    ("size", "parts"), [(1, 1), (4, 1), (2, 2), (4, 2), (6, 3), (8, 4)]
)
def test_parts_have_every_example_once(examples: int, size: int, parts: int):
    source = Arrays(np.arange(examples))
    epochs = [Epoch(source, size, part=(index, parts)) for index in range(parts)]
    rows = [list(epoch) for epoch in epochs]
    assert [len(epoch) for epoch in epochs] == [len(each) for each in rows]
    seen = np.concatenate([batch for each in rows for batch in each])
    assert sorted(seen.tolist()) == list(range(examples))
    whole = examples // size
    for each in rows:
        assert {len(batch) for batch in each[:whole]} <= {size // parts}
        # a batch less on one than on another at most
        assert len(each) in (whole, whole + bool(examples % size))


@pytest.mark.parametrize(
    ("size", "part", "message"),
    [
        (0, (0, 1), "size: 0 examples; expected 1 or more"),
        (
            5,
            (0, 2),
            "size: 5 examples of 2 processes; expected some that the processes divide",
        ),
        (4, (2, 2), "part: (2, 2); expected (index, parts), with an index below the parts"),
        (
            4,
            (-1, 2),
            "part: (-1, 2); expected (index, parts), with an index below the parts",
        ),
        (4, 2, "part: 2; expected (index, parts)"),
        (
            4,
            (0, 0),
            "size: 4 examples of 0 processes; expected some that the processes divide",
        ),
    ],
)
def test_parts_that_there_are_not(size: int, part: tuple[int, int], message: str):
    with pytest.raises(InputError) as raised:
        Epoch(Arrays(np.arange(3)), size, part=part)
    assert str(raised.value) == message
