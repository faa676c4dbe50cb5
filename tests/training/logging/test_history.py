"""A history keeps what it was given; its text and its curves agree with NumPy."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from explorer.errors import InputError
from explorer.training.logging.curves import component_of, joined_curve, layer_of, smoothed
from explorer.training.logging.history import History, Run
from explorer.training.watch.watch import Watch

ROWS = tuple(
    f"layers_{layer}/{module}/kernel" for layer in range(3) for module in ("attention/query", "mlp/up_proj")
)  # fmt: skip


def table_of(step, rows=6):
    """Return statistics that no two steps share, with a column that nothing is known of."""
    table = np.random.default_rng(step).random((rows, len(Watch.COLUMNS)), np.float32)
    table[:, -1] = np.nan
    return table


def run_of(steps, every=5, rows=ROWS, **settings):
    history = History(rows, **settings)
    for step in range(1, steps + 1):
        watch = table_of(step, len(rows)) if step % every == 1 or every == 1 else None
        history.append(step, {"loss": 4 / step, "grad_norm": 1.0 + step}, watch)
    return history


def test_what_was_added_is_there():
    history = run_of(12)
    steps, losses = history.metric("loss")
    np.testing.assert_array_equal(steps, np.arange(1, 13))
    np.testing.assert_array_equal(losses, 4 / np.arange(1, 13))
    names, (steps, values) = history.watched("grad_norm", "layers_[1-2]/attention/**")
    assert names == ("layers_1/attention/query/kernel", "layers_2/attention/query/kernel")
    np.testing.assert_array_equal(steps, [1, 6, 11])
    np.testing.assert_array_equal(
        values, [table_of(step)[[2, 4], 4] for step in (1, 6, 11)]
    )
    assert len(history) == len(history.records) == 12
    assert repr(history) == "History(12 steps, the last 12; 6 rows watched)"


def test_what_a_step_returns_is_taken_as_it_is():
    history = History(ROWS)
    metrics = {
        "loss": np.float32(0.1), "finite": np.bool_(True), "bad": np.full(3, -1, np.int32),
        "scale": jnp.bfloat16(2.5), "watch": jnp.asarray(table_of(0)),
    }  # fmt: skip
    history.append(np.int32(7), metrics)
    (record,) = history.records
    assert record.step == 7
    assert record.metrics == {"loss": float(np.float32(0.1)), "finite": 1.0, "scale": 2.5}
    assert record.watch is not None
    np.testing.assert_array_equal(record.watch, table_of(0))


def test_records_do_not_change_with_what_they_were_made_of():
    history, metrics, table = History(ROWS), {"loss": 1.0}, table_of(0)
    history.append(1, metrics, table)
    metrics["loss"], table[:] = 2.0, 0
    (record,) = history.records
    assert record.metrics == {"loss": 1.0}
    assert record.watch is not None
    np.testing.assert_array_equal(record.watch, table_of(0))
    with pytest.raises(ValueError, match="read-only"):
        record.watch[0, 0] = 1
    with pytest.raises(AttributeError):
        record.step = 2  # pyright: ignore[reportAttributeAccessIssue]


def test_a_step_that_was_not_watched_has_no_table():
    history = History(ROWS)
    history.append(1, {"loss": 1.0}, np.full((6, 9), np.nan, np.float32))
    assert history.records[0].watch is None


def test_a_run_that_goes_back_takes_its_place_again():
    history = run_of(10)
    history.append(4, {"loss": 9.0})
    history.append(5, {"loss": 8.0})
    steps, losses = history.metric("loss")
    np.testing.assert_array_equal(steps, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(losses, [4, 2, 4 / 3, 9, 8])


def test_writers_get_every_record_as_it_comes():
    class Seen(list):
        write = list.append

    seen = Seen()
    history = run_of(4, writers=(seen,))
    assert tuple(seen) == history.records


@pytest.mark.parametrize(
    ("step", "metrics", "watch", "message"),
    [
        (-1, {}, None, "step: -1; expected 0 or more"),
        (1, {"loss": np.ones(4, "f4")}, None, "metrics['loss']: float32 of shape (4,); expected a number; append the steps of one call one by one"),
        (1, {"loss": "low"}, None, "metrics['loss']: <U3 of shape (); expected a number"),
        (1, {}, np.ones((2, 9)), "watch: an array of shape (2, 9); expected 6 rows of 9 columns; make the history of the rows: History(watch.rows(params))"),
    ],
)  # fmt: skip
def test_what_is_not_a_step(step, metrics, watch, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        History(ROWS).append(step, metrics, watch)


def test_columns_and_rows_that_are_not_there():
    history = run_of(1)
    with pytest.raises(
        InputError, match=r"^column: 'size'; expected one of norm, rms, mean, "
    ):
        history.watched("size")
    with pytest.raises(InputError, match=r"^column: 'size'; "):
        history.plot(column="size")
    with pytest.raises(InputError, match=r"^glob: 'x/\*\*' matches none of 6 rows; expected a glob of names such as layers_0/attention/query/kernel$"):  # fmt: skip
        history.table(glob="x/**")


# as text


@pytest.mark.parametrize("width", [60, 80, 100, 160, 250])
def test_no_line_of_the_table_is_wider_than_it_may_be(width):
    rows = (*ROWS, "encoder/" * 30 + "kernel", "layers_9/ä/ß")
    history = run_of(300, rows=rows)
    lines = history.table(width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    assert len([line for line in lines if line.startswith("layers_")]) == 4
    assert len([line for line in lines if line.startswith("  ")]) >= len(ROWS)


def curve_of(text):
    """Return the lines of the curve as [[step, loss, grad_norm], ...]."""
    title, *lines = text.split("\n\n")[1].splitlines()
    assert title.split() == ["step", "loss", "grad_norm"]
    return [[float(cell.replace(",", "")) for cell in line.split()[:3]] for line in lines]


def test_the_curve_is_of_means_and_ends_with_the_last_step():
    curve = curve_of(run_of(1300).table(width=120))
    assert len(curve) == 12
    assert (curve[0][0], curve[-1][0]) == (1, 1300)
    before = 0
    for step, loss, grad_norm in curve:
        steps = np.arange(before + 1, step + 1)
        assert loss == pytest.approx(np.mean(4 / steps), rel=1e-3)
        assert grad_norm == pytest.approx(np.mean(1 + steps), rel=1e-3)
        before = step


def test_the_progress_of_the_last_steps_alone():
    text = run_of(20).table(last=3)
    assert [line[0] for line in curve_of(text)] == [18, 19, 20]
    assert text.startswith("steps 18 to 20, 0 watched\n")
    assert "\nstep 16\n" in text


def test_bars_are_as_long_as_losses_are_high():
    lines = run_of(4).table(width=100).split("\n\n")[1].splitlines()[1:]
    assert [line.count("█") for line in lines] == [40, 20, 13, 10]
    assert lines[2].endswith("█▍")  # 40 / 3, in eighths of a cell


def test_numbers_that_are_none_are_reported_as_such():
    history = History()
    history.append(1, {"loss": np.nan, "accuracy": np.inf})
    history.append(2, {"loss": -1.0})
    assert history.table().splitlines()[2:] == [
        "step    loss  accuracy",
        "   1               inf",
        "   2  -1.000",
    ]
    assert History().table() == "no steps"


def test_names_cannot_break_a_line():
    history = History(["a\n\x1b[31mb"])
    history.append(0, {"lo\nss": 1.0}, table_of(0, 1))
    text = history.table()
    assert "\x1b" not in text
    assert "a\\n\\x1b[31mb" in text
    assert "lo\\nss" in text


def test_the_newest_statistics_are_those_of_the_last_watched_step():
    history = run_of(12)
    whole = history.table(width=250)
    assert "\nstep 11\n" in whole
    title, *lines = whole.split("step 11\n\n")[1].splitlines()
    columns = title.split()
    assert columns == ["tensor", *Watch.COLUMNS[:-1]]  # of the last nothing is known
    table = dict(zip(ROWS, table_of(11), strict=True))
    layer = ""
    for line in lines:
        name, *cells = line.split()
        if not cells:
            layer = name
            continue
        for column, cell in zip(columns[1:], cells, strict=True):
            value = table[f"{layer}/{name}"][Watch.COLUMNS.index(column)]
            shown = float(cell.rstrip("%")) / (100 if cell.endswith("%") else 1)
            assert shown == pytest.approx(value, rel=6e-3 if cell.endswith("%") else 6e-4)


# curves


def test_a_group_is_measured_as_its_tensors_laid_end_to_end():
    rng = np.random.default_rng(0)
    shapes = {"a_0/x": (3, 4), "a_0/y": (5,), "a_1/x": (2, 2)}
    params = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    grads = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    updates = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    watch = Watch(every=1)
    history = History(watch.rows(params))
    history.append(3, {}, watch.measure(0, params, grads, updates))

    def whole(tree, layer):
        return np.concatenate(
            [tree[name].ravel() for name in shapes if name.startswith(layer)]
        )

    run = Run(history.records, history.rows, history.columns)
    for column, tree in (("norm", params), ("grad_norm", grads)):
        layers, (steps, values) = joined_curve(run, column, layer_of)
        assert (layers, list(steps)) == (("a_0", "a_1"), [3])
        wanted = [np.linalg.norm(whole(tree, layer)) for layer in layers]
        np.testing.assert_allclose(values[0], wanted, rtol=1e-5)
    layers, (_, values) = joined_curve(run, "update_ratio", layer_of)
    wanted = [
        np.linalg.norm(whole(updates, layer)) / np.linalg.norm(whole(params, layer))
        for layer in layers
    ]
    np.testing.assert_allclose(values[0], wanted, rtol=1e-5)
    # means of tensors; of dead rows only those that have rows
    _, (_, values) = joined_curve(run, "mean", layer_of)
    first = np.mean([params["a_0/x"].mean(), params["a_0/y"].mean()])
    np.testing.assert_allclose(values[0], [first, params["a_1/x"].mean()], rtol=1e-4)
    _, (_, values) = joined_curve(run, "dead_rows", layer_of)
    np.testing.assert_array_equal(values[0], [0, 0])
    _, (_, values) = joined_curve(run, "distance", layer_of)
    assert np.isnan(values).all()


def test_what_is_not_a_number_stays_in_its_group():
    history = History(["a_0/x", "a_0/y", "a_1/x"])
    table = table_of(0, 3)
    table[0] = np.nan
    history.append(1, {}, table)
    run = Run(history.records, history.rows, history.columns)
    for column in Watch.COLUMNS[:-1]:
        _, (_, values) = joined_curve(run, column, layer_of)
        wanted = table[2, Watch.COLUMNS.index(column)]
        assert values[0, 1] == pytest.approx(wanted, rel=1e-6), column
    for column in ("norm", "update_ratio"):
        assert np.isnan(joined_curve(run, column, layer_of)[1].values[0, 0]), column


def test_tensors_of_zeros_that_are_moved_do_not_make_a_ratio_infinite():
    tree = {"a_0": {"kernel": np.ones(4, "f4"), "bias": np.zeros(4, "f4")}}
    watch = Watch(every=1)
    history = History(watch.rows(tree))
    history.append(1, {}, watch.measure(0, tree, tree, {"a_0": {"kernel": tree["a_0"]["kernel"] / 8, "bias": np.ones(4, "f4")}}))  # fmt: skip
    run = Run(history.records, history.rows, history.columns)
    assert joined_curve(run, "update_ratio", layer_of)[1].values.tolist() == [[0.125]]


@pytest.mark.parametrize(
    ("row", "layer", "component"),
    [
        ("layers_11/attention/query/kernel", "layers_11", "attention"),
        ("params/layers_2/mlp_norm/scale", "layers_2", "norm"),
        ("transformer/h/3/mlp/bias", "transformer/h/3", "mlp"),
        ("blocks/mlp/kernel[4]", "blocks[4]", "mlp"),
        ("blocks/experts/kernel[4,17]", "blocks[4]", "experts"),
        ("embed/embedding", "embed", "embedding"),
        ("lm_head/kernel", "lm_head", "head"),
        ("w", "w", "other"),
    ],
)
def test_where_a_row_belongs(row, layer, component):
    assert (layer_of(row), component_of(row)) == (layer, component)


def test_smoothing_is_a_mean_of_neighbours():
    values = np.random.default_rng(0).normal(size=500)
    values[100], values[200] = np.nan, np.inf
    numbers = np.where(np.isfinite(values), values, np.nan)
    near = [min(5, n) for n in range(500)]  # a slice ends where the values do
    wanted = [np.nanmean(numbers[n - k : n + k + 1]) for n, k in enumerate(near)]
    np.testing.assert_allclose(smoothed(values), wanted)


@pytest.mark.parametrize("count", [0, 1, 2, 99, 100, 1000])
def test_smoothing_leaves_a_straight_line_as_it_is_but_for_its_end(count):
    line = 3.8 - 0.001 * np.arange(count)
    sure = slice(0, max(count - count // 100, 0))
    np.testing.assert_allclose(smoothed(line)[sure], line[sure], rtol=1e-9)


def test_the_last_smoothed_value_is_not_a_single_one():
    values = np.append(np.ones(499), 7.0)
    assert smoothed(values)[-1] == 2.0  # the mean of it and of five before
