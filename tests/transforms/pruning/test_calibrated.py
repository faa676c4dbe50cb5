"""Wanda and SparseGPT on whole models: layer by layer, as both papers do."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError
from tests.conformance import configs
from tests.conformance.configs import VOCAB


def made(name: str = "LLAMA", **settings: Any) -> tuple[Any, Any, np.ndarray]:
    model = ex.build_model(getattr(configs, name), **settings)
    rng = np.random.default_rng(0)
    ids = rng.integers(1, VOCAB, (4, 3, 12))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(ids[0]))["params"]
    params = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s.shape, scale=0.2), s.dtype), shapes
    )
    return model, params, ids


def wanda_of(kernel: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Half of each output's inputs, those with the smallest |w| ||x||, in NumPy."""
    scores = np.abs(kernel) * np.sqrt(hessian.diagonal())[:, None]
    order = np.argsort(scores, axis=0, kind="stable")[: len(kernel) // 2]
    result = kernel.copy()
    np.put_along_axis(result, order, 0, 0)
    return result


def test_each_layer_sees_what_the_pruned_ones_before_it_give():
    model, params, ids = made()
    pruned, change = ex.prune(params, "0.5", "wanda", model=model, data=list(ids))
    # the second layer, by the moments of a model whose first layer is the pruned one
    halfway = params | {"layers_0": pruned["layers_0"]}
    for index, tree in ((0, params), (1, halfway)):
        moments = ex.gather_moments(model, tree, list(ids))
        for part, name in (
            ("attention", "query"),
            ("attention", "out"),
            ("mlp", "down_proj"),
        ):
            hessian = moments[f"layers_{index}/{part}/{name}/kernel"].hessian
            kernel = np.asarray(params[f"layers_{index}"][part][name]["kernel"])
            expected = wanda_of(kernel, np.asarray(hessian))
            found = pruned[f"layers_{index}"][part][name]["kernel"]
            np.testing.assert_array_equal(found, expected)
    assert change.zeros == sum(t.parameters_before // 2 for t in change.tensors if t.zeros)


@pytest.mark.representatives("LLAMA", "GPT2", "MIXTRAL")
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("LLAMA", "0.5"),
        ("GPT2", "2:4"),
        ("MIXTRAL", "2:4"),
        ("GEMMA3", "0.5"),
        ("V2", "2:4"),
        ("BERT", "0.5"),
    ],
)
def test_outputs_change_less_than_by_magnitude(name: str, pattern: str):
    model, params, ids = made(name)
    run = jax.jit(lambda tree: model.apply({"params": tree}, ids[0]).hidden)
    before = np.asarray(run(params))
    errors = {}
    for by in ("magnitude", "wanda", "sparsegpt"):
        pruned, change = ex.prune(params, pattern, by, model=model, data=list(ids))
        errors[by] = np.square(np.asarray(run(pruned)) - before).sum()
        halves = [t for t in change.tensors if t.zeros is not None]
        for each in halves:
            assert each.zeros == each.parameters_before // 2, each.name
    assert errors["sparsegpt"] < errors["magnitude"]


def test_scanned_layers_are_calibrated_once():
    from explorer.models.stacking import stack_layers

    model, params, ids = made()
    stacked = stack_layers(params, model.architecture)
    scanned = model.clone(scan=True)
    found, _ = ex.prune(stacked, "2:4", "wanda", model=scanned, data=list(ids))
    moments = ex.gather_moments(model, params, list(ids))
    kernel = np.asarray(params["layers_1"]["mlp"]["up_proj"]["kernel"])
    hessian = moments["layers_1/mlp/up_proj/kernel"].hessian
    scores = np.abs(kernel) * np.sqrt(np.asarray(hessian).diagonal())[:, None]
    kept = found["stages_0"]["block_0"]["mlp"]["up_proj"]["kernel"][1] != 0
    for group in range(8):
        four = slice(4 * group, 4 * group + 4)
        best = np.sort(np.argsort(-scores[four], 0, kind="stable")[:2], 0)
        assert np.array_equal(
            np.argwhere(np.asarray(kept)[four].T)[:, 1].reshape(-1, 2).T, best
        )


def test_global_scores_of_wanda():
    model, params, ids = made()
    _, change = ex.prune(params, "0.5", "wanda", "global", model=model, data=ids[0])
    counted = [t for t in change.tensors if t.zeros is not None]
    assert change.zeros == sum(t.parameters_before for t in counted) // 2
    assert any(2 * (t.zeros or 0) != t.parameters_before for t in counted)


def test_a_tree_with_its_collection():
    model, params, ids = made()
    inner, _ = ex.prune(params, "2:4", "wanda", model=model, data=ids[0])
    outer, _ = ex.prune({"params": params}, "2:4", "wanda", model=model, data=ids[0])
    jax.tree.map(np.testing.assert_array_equal, outer["params"], inner)


def test_what_a_method_needs():
    model, params, ids = made()
    with pytest.raises(
        InputError, match="'wanda' without calibration data; expected data="
    ):
        ex.prune(params, "0.5", "wanda", model=model)
    with pytest.raises(
        InputError, match="'sparsegpt' without the module of these parameters"
    ):
        ex.prune(params, "0.5", "sparsegpt", data=ids[0])
    with pytest.raises(InputError, match=r"'sparsegpt' with rows:0\.25; expected a share"):
        ex.prune(params, "rows:0.25", "sparsegpt", model=model, data=ids[0])
    with pytest.raises(InputError, match="'global' by sparsegpt"):
        ex.prune(params, "0.5", "sparsegpt", "global", model=model, data=ids[0])
    with pytest.raises(InputError, match="changes the shapes of its module"):
        ex.prune(params, "heads:0.5", model=model)
    bad = params | {"layers_1": jax.tree.map(lambda x: x * jnp.nan, params["layers_1"])}
    with pytest.raises(
        InputError, match=r"layers_1/attention/key/kernel: holds NaN at \[0, 0\]"
    ):
        ex.prune(bad, "0.5", "wanda", model=model, data=ids[0])


def test_measured_on_tokens():
    model, params, ids = made()
    evaluator = ex.Evaluator(model, ids[0])
    pruned, change = ex.prune(params, "0.5", evaluate=evaluator)
    assert change.evaluation is not None
    assert change.evaluation.loss_before == pytest.approx(evaluator.loss(params))
    assert change.evaluation.loss_after == pytest.approx(evaluator.loss(pruned))
