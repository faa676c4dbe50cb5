"""Watched rows as a tree: every row on one line, medians of equal layers, and what stands out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from explorer.training import History
from explorer.training.logging.folding import furthest, lines_of
from explorer.training.logging.table import _median

PARTS = st.sampled_from(
    ["embed", "layers_0", "layers_1", "h", "0", "7", "12", "mlp", "ä", "norm", "b[1]"]
)
NAMES = st.lists(
    st.lists(PARTS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=30, unique=True
)  # fmt: skip


@given(NAMES, st.integers(0, 9))
def test_every_row_is_on_one_line_whatever_the_names_are(names: list[str], layers: int):
    names = list(dict.fromkeys([*names, *(f"block_{n}/mlp/w" for n in range(layers))]))
    lines = lines_of(names)
    rows = [row for line in lines for row in line.rows]
    assert sorted(rows) == list(range(len(names)))
    folded = [line.rows for line in lines if len(line.rows) > 1]
    assert sum(map(len, folded)) >= layers * (layers >= 4)


def test_layers_are_in_the_order_of_use_and_equal_ones_are_one_branch():
    leaves = ("attention/key/kernel", "attention/query/kernel", "norm/scale")
    names = [
        "embed/table",
        "final_norm/scale",
        *(f"layers_{n}/{leaf}" for n in range(12) for leaf in leaves),
    ]
    assert [line.name for line in lines_of(names)] == [
        "embed/table", "layers_[0-11]", "  attention", "    key/kernel", "    query/kernel", "  norm/scale",
        "final_norm/scale",
    ]  # fmt: skip
    stacked = [f"blocks/w[{n}]" for n in (0, 1, 2, 5)]
    assert [(line.name, line.rows) for line in lines_of(stacked)] == [
        ("blocks[0,1,2,5]/w", (0, 1, 2, 3))
    ]
    # a layer that is not like the others stays by itself
    mixed = [*(f"h_{n}/w" for n in range(6)), "h_3/b"]
    assert [line.name for line in lines_of(mixed)] == [
        "h_[0,1,2,4,5]/w",
        "h_3",
        "  w",
        "  b",
    ]
    few = [f"layers_{n}/w" for n in range(3)]
    assert [line.name for line in lines_of(few)] == [f"layers_{n}/w" for n in range(3)]


@given(
    st.lists(
        st.lists(st.floats(-9, 9) | st.just(np.nan), min_size=3, max_size=3),
        min_size=1,
        max_size=9,
    )
)
def test_medians_are_those_of_numpy(rows: list[list[float]]):
    table = np.array(rows)
    expected = [
        np.median(known) if (known := column[~np.isnan(column)]).size else np.nan
        for column in table.T
    ]
    np.testing.assert_allclose(_median(table), expected)


def test_a_layer_that_stands_out_is_named():
    names = tuple(f"layers_{n}/{leaf}" for n in range(8) for leaf in ("bias", "kernel"))
    rng = np.random.default_rng(0)
    table = rng.uniform(1, 1.5, (16, 9)).astype(np.float32)
    table[11, 4] = 40  # the gradient of layers_5/kernel
    middle = float(np.median(table[1::2, 4]))
    lines = lines_of(names)
    medians = np.stack([_median(table[list(line.rows)]) for line in lines])
    found = furthest(lines, table, medians)
    assert found is not None
    assert found[:2] == (11, 4)
    np.testing.assert_allclose(found[2], 40 / middle, rtol=1e-6)
    history = History(names)
    history.append(1, {"loss": 1.0, "watch": table})
    text = " ".join(history.table(width=160).split())
    assert text.endswith(
        f"furthest from its own, {40 / middle:.3g} times: grad_norm 40.00 of layers_5/kernel"
    )
    assert "layers_[0-7]" in text
    assert furthest(lines, np.ones_like(table), np.ones_like(medians)) is None
