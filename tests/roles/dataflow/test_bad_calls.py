"""Every mistake in a call is one line that names the place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from explorer.errors import InputError, TreeError
from explorer.roles.dataflow import trace_roles
from tests.roles.dataflow.reading import floats

X = floats(5, 4)
PARAMS = {"layer": {"w": floats(4, 3)}}


def fn(params, x):
    return x @ params["layer"]["w"]


def message(call, *args, kind=InputError) -> str:
    with pytest.raises(kind) as caught:
        trace_roles(call, *args)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_inputs_that_do_not_fit():
    text = message(fn, PARAMS, floats(5, 7))
    assert text.startswith("fn: cannot be called with (float32[5, 7]): ")
    assert "dot_general" in text
    assert text.endswith("; pass what it takes after the parameters")
    assert "missing 1 required positional argument: 'x'" in message(fn, PARAMS)
    assert "cannot be called with (float32[5, 4], float32[5, 4])" in message(
        fn, PARAMS, X, X
    )
    assert "): KeyError: 'x'; " in message(lambda p, x: p["x"], PARAMS, X)


def test_values_that_are_asked_for():
    def asks(params, x):
        return x if x.sum() > 0 else -x

    text = message(asks, PARAMS, X)
    assert text.startswith("asks: cannot be called with (float32[5, 4]): ")
    assert "Attempted boolean conversion of traced array" in text


@pytest.mark.parametrize(
    ("leaf", "kind"),
    [("text", "str"), (object(), "object"), (2.0, "float"), (len, "builtin")],
)
def test_a_parameter_that_is_not_an_array(leaf, kind):
    params = {"layer": {"w": floats(4, 3), "rate": leaf}}
    text = message(fn, params, X, kind=TreeError)
    assert text.startswith(f"params/layer/rate: is {kind}")
    assert text.endswith("expected an array or a ShapeDtypeStruct")


def test_arrays_of_text_are_not_arrays():
    text = message(fn, {"layer": {"w": np.array(["a"])}}, X, kind=TreeError)
    assert text == "params/layer/w: is ndarray; expected an array or a ShapeDtypeStruct"


@pytest.mark.parametrize("params", [{}, [], None, {"layer": {}}, ()])
def test_no_parameters(params):
    text = message(lambda p, x: x, params, X, kind=TreeError)
    assert text == "params: no parameters; expected a tree of arrays"


def test_side_effects():
    def writes(params, x):
        def step(h, row):
            seen = io_callback(lambda r: r, jax.ShapeDtypeStruct((3,), jnp.float32), h)
            return h + seen, None

        return jax.lax.scan(step, fn(params, x)[0], x)[0]

    text = message(writes, PARAMS, X)
    assert text == "writes: has side effects (io_callback); expected a pure function"

    def ordered(params, x):
        io_callback(lambda r: None, None, x, ordered=True)
        return fn(params, x)

    text = message(ordered, PARAMS, X)
    assert text == "ordered: has side effects (io_callback); expected a pure function"


def test_printing_is_not_a_side_effect():
    def prints(params, x):
        jax.debug.print("{}", x)
        return fn(params, x)

    assert trace_roles(prints, PARAMS, X)["layer"]["w"].role == "kernel"


def test_a_traced_array_that_was_kept():
    kept = []

    def keeps(params, x):
        kept.append(x)
        return fn(params, kept[0])

    assert trace_roles(keeps, PARAMS, X)["layer"]["w"].role == "kernel"
    assert message(keeps, PARAMS, X) == (
        "keeps: uses a traced array that was kept from another call; expected a pure function"
    )


def test_recursion():
    def deeper(params, x):
        return deeper(params, x + 1)

    assert message(deeper, PARAMS, X) == "deeper: recurses without end"


def test_results_that_are_not_arrays():
    def says(params, x):
        return {"logits": fn(params, x), "loss": ["text"]}

    assert message(says, PARAMS, X) == "says: returns str at loss/0; expected arrays"
    assert (
        message(lambda p, x: object(), PARAMS, X)
        == "<lambda>: returns object; expected arrays"
    )


def test_results_that_are_numbers_or_nothing():
    def plain(params, x):
        return fn(params, x), 3, None, True

    assert trace_roles(plain, PARAMS, X)["layer"]["w"].reached
    assert not trace_roles(lambda p, x: None, PARAMS, X)["layer"]["w"].reached


def test_a_mutable_array_is_a_side_effect():
    def mutates(params, x):
        cell = jax.new_ref(x)
        cell[...] = cell[...] * 2
        return cell[...] @ params["layer"]["w"]

    text = message(mutates, PARAMS, X)
    assert text.startswith("mutates: has side effects (")
    assert text.endswith("); expected a pure function")


def test_nothing_is_allocated_and_nothing_runs():
    def runs(params, x):
        jax.debug.callback(lambda x: pytest.fail("it ran"), x)
        return x @ params

    side = 2**20  # a matrix of 4 TB
    record = trace_roles(runs, floats(side, side), floats(8, side))
    assert record.macs == 8 * 2**40
    assert isinstance(record.macs, int)
