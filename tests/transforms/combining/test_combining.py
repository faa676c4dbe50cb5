"""Combinations of models against their papers' formulas, and the laws they keep."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.errors import InputError, TreeError
from explorer.transforms.combining.combine import combine_trees, mixing_of
from explorer.transforms.combining.settings import NAMES, NEED_BASE


def _tree(seed: int, dtype: str = "float32") -> dict:
    draw = np.random.default_rng(seed)
    return {
        "mlp": {
            "kernel": draw.normal(size=(6, 8)).astype(dtype),
            "bias": np.ones(8, dtype),
        },
        "step": np.array(7),
    }


def _combined(method: str, models: list, base: object = None, **settings: object) -> dict:
    mixing = mixing_of(method, len(models), base, **settings)
    return combine_trees(models, base, mixing, "test")[0]


def _kernel(tree: dict) -> np.ndarray:
    return tree["mlp"]["kernel"].astype(np.float64)


def test_an_average_is_the_weighted_mean():
    models = [_tree(seed) for seed in range(3)]
    found = _combined("average", models, weights=[1, 2, 3])
    wanted = sum(weight * _kernel(model) for weight, model in zip((1, 2, 3), models)) / 6
    np.testing.assert_allclose(found["mlp"]["kernel"], wanted, atol=1e-6)


def test_slerp_keeps_the_length_of_two_of_one_length():
    a, b = _tree(0), _tree(1)
    b["mlp"]["kernel"] *= np.linalg.norm(_kernel(a)) / np.linalg.norm(_kernel(b))
    for share in (0.0, 0.3, 1.0):
        found = _combined("slerp", [a, b], weights=share)
        length = np.linalg.norm(found["mlp"]["kernel"])
        assert length == pytest.approx(np.linalg.norm(_kernel(a)), rel=1e-5)
        turned = np.vdot(found["mlp"]["kernel"], _kernel(a)) / length**2
        whole = np.arccos(np.vdot(_kernel(a), _kernel(b)) / length**2)
        assert np.arccos(min(turned, 1)) == pytest.approx(share * whole, abs=2e-3)


def test_task_arithmetic_adds_and_takes_away():
    base, tuned = _tree(0), _tree(1)
    there = _combined("task_arithmetic", [tuned], base)
    np.testing.assert_allclose(there["mlp"]["kernel"], tuned["mlp"]["kernel"], atol=1e-6)
    away = _combined("task_arithmetic", [tuned], base, weights=[-1])
    np.testing.assert_allclose(
        away["mlp"]["kernel"], 2 * _kernel(base) - _kernel(tuned), atol=1e-6
    )


def test_ties_element_by_element():
    """The paper's three steps, one element after the other."""
    base, models = _tree(0), [_tree(seed) for seed in (1, 2, 3)]
    found = _combined("ties", models, base, density=0.25, scale=0.7)
    steps = [(_kernel(model) - _kernel(base)).reshape(-1) for model in models]
    for step in steps:
        step[np.abs(step) < np.sort(np.abs(step))[-round(0.25 * step.size)]] = 0
    wanted = _kernel(base).reshape(-1).copy()
    for index in range(wanted.size):
        column = [step[index] for step in steps]
        sign = 1 if sum(column) >= 0 else -1
        agree = [value for value in column if value * sign > 0]
        wanted[index] += 0.7 * (sum(agree) / len(agree) if agree else 0)
    np.testing.assert_allclose(found["mlp"]["kernel"].reshape(-1), wanted, atol=1e-6)


def test_dare_drops_a_share_and_rescales_the_rest():
    base = {"kernel": np.zeros(200_000, "float32")}
    tuned = {"kernel": np.ones(200_000, "float32")}
    found = _combined("dare", [tuned], base, density=0.2, seed=1)["kernel"]
    assert set(np.unique(found)) == {0.0, 5.0}
    assert found.mean() == pytest.approx(1, abs=0.02)  # its expectation is the task vector
    again = _combined("dare", [tuned], base, density=0.2, seed=1)["kernel"]
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_equal_models_stay_as_they_are(method: str, dtype: str):
    import ml_dtypes  # noqa: F401 - NumPy then knows bfloat16

    tree = _tree(0, dtype)
    models, base = [tree, _tree(0, dtype)], (tree if method in NEED_BASE else None)
    found, change = combine_trees(models, base, mixing_of(method, 2, base), "test")
    assert jax.tree.all(
        jax.tree.map(lambda a, b: (a == b).all() & (a.dtype == b.dtype), found, tree)
    )
    assert change.relative_error == 0
    assert change.parameters_after == change.parameters_before


@given(st.permutations(range(3)))
def test_an_average_does_not_depend_on_the_order(order: list[int]):
    models = [_tree(seed) for seed in range(3)]
    a = _combined("average", models)["mlp"]["kernel"]
    b = _combined("average", [models[index] for index in order])["mlp"]["kernel"]
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_inputs_are_not_changed():
    models, base = [_tree(1), _tree(2)], _tree(0)
    before = jax.tree.map(np.copy, [*models, base])
    for method in NAMES:
        _combined(method, models, base if method in NEED_BASE else None)
    assert jax.tree.all(jax.tree.map(np.array_equal, before, [*models, base]))


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("tie", {}, "no method is called 'tie'; expected average, slerp, task_arithmetic, ties, dare; did you mean ties?"),
        ("ties", {}, "none, and ties adds changes to one"),
        ("average", {"weights": [1]}, "1 numbers; expected 2 numbers, one for each model"),
        ("average", {"weights": [1, -1]}, "a sum of 0"),
        ("average", {"density": 0}, "is 0; expected a share above 0, up to 1"),
        ("slerp", {"weights": 2.0}, "is 2.0; expected a share from 0 up to 1"),
        ("average", {"weights": [1, float("nan")]}, "nan; expected 2 numbers"),
    ],
)  # fmt: skip
def test_slips(method: str, settings: dict, message: str):
    with pytest.raises(InputError) as error:
        mixing_of(method, 2, None, **settings)
    assert message in str(error.value)


def test_models_that_do_not_fit():
    a, b = _tree(0), _tree(1)
    b["mlp"]["kernel"] = b["mlp"]["kernel"][:3]
    with pytest.raises(TreeError, match=r"mlp/kernel: has shape \[3, 8\] in model 2"):
        _combined("average", [a, b])
    with pytest.raises(TreeError, match="step: is int64 and differs between the models"):
        _combined("average", [a, _tree(1) | {"step": np.array(8)}])
    with pytest.raises(TreeError, match="model 2: another structure"):
        _combined("average", [a, {"mlp": a["mlp"]}])
