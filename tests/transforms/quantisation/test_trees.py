"""Trees, modules and files quantised: which tensors, what stays, what is recorded and refused."""

from pathlib import Path
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.sizing.weights.groups import Matrix
from explorer.sizing.weights.parsing import parse_scheme
from explorer.sizing.weights.schemes import linear_scheme
from explorer.transforms.quantisation.quantized import Quantized


class Net(nn.Module):
    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        x = nn.Embed(100, 64, name="embed")(ids)
        x = nn.Dense(128, name="up")(nn.LayerNorm(name="norm")(x))
        x = nn.Dense(64, name="down")(nn.relu(x))
        return nn.Dense(100, name="lm_head", use_bias=False)(x)


IDS = jnp.arange(12).reshape(2, 6)


@pytest.fixture(scope="module")
def params() -> Any:
    return Net().init(jax.random.key(0), IDS)


def quantised_paths(tree: Any) -> set[str]:
    leaves = jax.tree_util.tree_leaves_with_path(
        tree, is_leaf=lambda node: isinstance(node, Quantized)
    )
    return {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in leaves
        if isinstance(leaf, Quantized)
    }


def test_kernels_of_layers_are_quantised_and_the_rest_stays(params: Any):
    tree, change = ex.quantize(params, "int8")
    assert quantised_paths(tree) == {"params/up/kernel", "params/down/kernel"}
    for name in ("embed", "norm", "lm_head"):
        assert jax.tree.leaves(tree["params"][name]) == jax.tree.leaves(
            params["params"][name]
        )
    assert change.transform == "quantize int8"
    assert (
        change.parameters_before == change.parameters_after == ex.count_parameters(params)
    )
    assert change.bytes_before == 4 * ex.count_parameters(params)
    assert change.bytes_before - change.bytes_after == 2 * 64 * 128 * 3 - 4 * (128 + 64)
    assert change.by_type["int8"] == 2 * 64 * 128 + 4 * (128 + 64)


def test_head_and_embedding_where_the_scheme_has_them(params: Any):
    assert "params/lm_head/kernel" in quantised_paths(ex.quantize(params, "int8wo")[0])
    names = quantised_paths(ex.quantize(params, "Q8_0")[0])
    assert {"params/lm_head/kernel", "params/embed/embedding"} <= names


def test_select_is_what_is_quantised_instead(params: Any):
    tree, _ = ex.quantize(params, "int8", select="**/embedding")
    assert quantised_paths(tree) == {"params/embed/embedding"}
    # a token's row has a scale of its own
    assert tree["params"]["embed"]["embedding"].scales.shape == (100, 1)


@pytest.mark.parametrize(
    "scheme", ["int8", "nf4:double", "int4:g32:asym", "mxfp4", "q8_0:pure"]
)
def test_the_ledger_of_a_quantised_tree(params: Any, scheme: str):
    tree, change = ex.quantize(params, scheme)
    before, after = ex.explore(params), ex.explore(tree)
    assert after.num_parameters == before.num_parameters
    assert (after.num_weights, after.num_biases) == (before.num_weights, before.num_biases)
    assert ex.count_bytes(tree) == change.bytes_after
    names = {tensor.name: tensor for tensor in after if tensor.collection == "params"}
    assert names.keys() == {tensor.name for tensor in before}
    for tensor in before:
        assert names[tensor.name].shape == tensor.shape
        assert names[tensor.name].role == tensor.role
    parts = [tensor for tensor in after if tensor.collection == "quantization"]
    assert all(tensor.role == "other" for tensor in parts)
    if not scheme.startswith("q8_0"):
        wanted = parse_scheme(scheme)
        sizes = linear_scheme(wanted.name, wanted.options).sizes
        expected = [sizes(Matrix(1, 64, 128)), sizes(Matrix(1, 128, 64))]
        stored = sum(t.nbytes for t in after) - sum(
            t.nbytes for t in before if t.name not in quantised_paths(tree)
        )
        assert stored == sum(sum(each) for each in expected if each is not None)


def test_shapes_alone_have_the_same_ledger(params: Any):
    tree, _ = ex.quantize(params, "nf4")
    assert ex.explore(jax.eval_shape(lambda: tree)).columns == ex.explore(tree).columns


def test_describe_reads_the_weights_that_are_stood_for(params: Any):
    tree, _ = ex.quantize(params, "int8")
    found = {each.name: each for each in ex.describe(tree).tensors}
    plain = ex.dequantize(tree)["params"]["up"]["kernel"]
    statistics = found["params/up/kernel"].statistics
    assert statistics.l2 == pytest.approx(
        float(np.linalg.norm(np.asarray(plain, np.float64)))
    )


def test_weights_and_biases_are_split(params: Any):
    tree, _ = ex.quantize(params, "int8")
    weights, biases = ex.split_weights_biases(tree["params"])
    assert isinstance(weights["up"]["kernel"], Quantized)
    assert biases["up"]["kernel"] is None
    assert ex.combine(weights, biases)["up"]["kernel"] is tree["params"]["up"]["kernel"]
    assert ex.decay_mask(tree["params"])["up"] == {"kernel": True, "bias": False}


def test_a_module_runs_on_what_is_dequantised_inside_jit(params: Any):
    tree, _ = ex.quantize(params, "int8")
    run = jax.jit(lambda tree, ids: Net().apply(ex.dequantize(tree), ids))
    found, expected = run(tree, IDS), Net().apply(params, IDS)
    assert jnp.linalg.norm(found - expected) < 0.02 * jnp.linalg.norm(expected)


def test_no_gradient_flows_into_quantised_tensors(params: Any):
    tree, _ = ex.quantize(params, "int8")

    def loss(tree: Any) -> jax.Array:
        return (jnp.asarray(Net().apply(ex.dequantize(tree), IDS)) ** 2).sum()

    found = jax.grad(loss, allow_int=True)(tree)["params"]["up"]
    assert not np.asarray(found["kernel"].scales).any()
    assert np.asarray(found["bias"]).any()


@pytest.mark.parametrize(
    "scheme", ["int8", "int4:g32", "nf4", "fp8:channel", "mxfp4", "nvfp4"]
)
def test_stacks_are_sliced_by_scan_and_vmap(scheme: str):
    stack = np.random.default_rng(0).normal(0, 0.02, (3, 64, 64)).astype(np.float32)
    tree, _ = ex.quantize({"layers": {"mlp": {"kernel": jnp.asarray(stack)}}}, scheme)
    kernel = tree["layers"]["mlp"]["kernel"]
    assert (kernel.shape, kernel.ndim, kernel.size) == ((3, 64, 64), 3, 3 * 64 * 64)
    each = [
        Quantized.of(matrix, scheme, inputs_first=True).dequantize() for matrix in stack
    ]
    np.testing.assert_array_equal(kernel.dequantize(), np.stack(each))
    _, scanned = jax.lax.scan(lambda carry, q: (carry, q.dequantize()), 0, kernel)
    np.testing.assert_array_equal(scanned, np.stack(each))
    mapped = jax.vmap(lambda q: q.dequantize())(kernel)
    np.testing.assert_array_equal(mapped, np.stack(each))


def test_nnx_modules_and_states_run_and_are_counted():
    module = nnx.Linear(128, 64, rngs=nnx.Rngs(0))
    quantised, _ = ex.quantize(module, "int8")
    x = jnp.ones((2, 128))
    assert jnp.abs(quantised(x) - module(x)).max() < 0.02 * jnp.abs(module(x)).max()
    assert ex.count_parameters(quantised) == ex.count_parameters(module)
    state, _ = ex.quantize(nnx.state(module), "nf4")
    assert ex.count_parameters(state) == ex.count_parameters(module)
    assert isinstance(module.kernel[...], jax.Array)  # the module itself is not changed


def test_equinox_modules_have_outputs_first():
    module = eqx.nn.Linear(128, 64, key=jax.random.key(0))
    quantised, change = ex.quantize(module, "int4:g32")
    assert quantised.weight.scales.shape == (64, 4)
    x = jnp.ones(128)
    assert jnp.linalg.norm(quantised(x) - module(x)) < 0.2 * jnp.linalg.norm(module(x))
    assert change.parameters_after == ex.count_parameters(module)


def test_a_file_is_quantised_tensor_by_tensor(tmp_path: Path):
    weight = np.random.default_rng(0).normal(0, 0.02, (64, 128)).astype(np.float32)
    tensors = {"model.layers.0.mlp.up_proj.weight": weight, "model.norm.weight": weight[0]}
    save_file(tensors, tmp_path / "model.safetensors")
    tree, change = ex.quantize(tmp_path / "model.safetensors", "int8")
    found = tree["model"]["layers"]["0"]["mlp"]["up_proj"]["weight"]
    assert found.scales.shape == (64, 1)  # of the outputs, which PyTorch has first
    np.testing.assert_array_equal(tree["model"]["norm"]["weight"], weight[0])
    (error,) = [t.relative_error for t in change.tensors if t.after == "int8"]
    expected = np.linalg.norm(np.asarray(found) - weight) / np.linalg.norm(weight)
    assert error == pytest.approx(expected, rel=1e-4)


def test_bfloat16_weights_stay_bfloat16():
    kernel = jnp.ones((64, 64), jnp.bfloat16)
    tree, _ = ex.quantize({"mlp": {"kernel": kernel}}, "nf4")
    assert tree["mlp"]["kernel"].dtype == jnp.bfloat16
    assert ex.dequantize(tree)["mlp"]["kernel"].dtype == jnp.bfloat16


def kernel_of(value: float) -> dict[str, Any]:
    kernel = np.ones((32, 48), np.float32)
    kernel[3, 7] = value
    return {"mlp": {"up": {"kernel": kernel}}}


@pytest.mark.parametrize(
    ("tree", "scheme", "message"),
    [
        (kernel_of(np.nan), "int8", "mlp/up/kernel: NaN at [3, 7]; expected finite weights"),
        (kernel_of(-np.inf), "nf4", "mlp/up/kernel: an infinite number at [3, 7]"),
        (kernel_of(1), "nf5", "did you mean nf4"),
        ({"mlp": {"kernel": np.ones((40, 8), np.float32)}}, "mxfp4", "mlp/kernel: mxfp4 stores inputs in groups of 32"),
        ({"bias": np.ones(3, np.float32)}, "int8", "has no kernel of a linear layer"),
        ({"mlp": {"kernel": np.ones((8, 8), np.int8)}}, "int8", "is quantised already: mlp/kernel"),
        ("gpt2", "int8", "has shapes and no values"),
    ],
)  # fmt: skip
def test_what_is_refused(tree: Any, scheme: str, message: str):
    with pytest.raises(InputError) as error:
        ex.quantize(tree, scheme)
    assert message in str(error.value)


def test_a_quantised_tree_is_refused():
    tree, _ = ex.quantize(kernel_of(1), "int8")
    with pytest.raises(InputError, match="is quantised already: mlp/up/kernel"):
        ex.quantize(tree, "nf4")


def test_a_glob_that_matches_nothing():
    with pytest.raises(InputError, match="no tensor matches"):
        ex.quantize(kernel_of(1), "int8", select="**/kernal")


def test_counts_are_as_well_known_as_those_of_the_tree():
    """A quantised tensor says itself what it stands for; what marks parameters is the tree."""

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.up = nnx.Linear(64, 32, rngs=rngs)

    plain = {"up": {"kernel": np.eye(64, dtype=np.float32)}}
    for tree in (plain, {"params": plain}, Net(nnx.Rngs(0))):
        found, _ = ex.quantize(tree, "nf4", "**/kernel")
        ours, theirs = ex.ledger(found), ex.ledger(tree)
        assert ours.parameters == theirs.parameters
        assert ours.provenance["parameters"] == theirs.provenance["parameters"]
    assert ours.provenance["parameters"] == "exact"


@pytest.mark.parametrize("scheme", ["int8", "nf4", "nf4:double", "Q8_0:pure", "fp8:block"])
def test_matrices_without_elements_stay(scheme: str):
    empty = np.zeros((0, 64), np.float32)
    tree = {"mlp": {"kernel": np.eye(64, dtype=np.float32)}, "none": {"kernel": empty}}
    result, change = ex.quantize(tree, scheme)
    assert result["none"]["kernel"] is empty
    assert isinstance(result["mlp"]["kernel"], ex.Quantized)
    assert change.parameters_after == change.parameters_before == 64 * 64


@pytest.mark.parametrize("scheme", ["int8:asym", "nf4", "int4:g32"])
def test_one_structure_on_the_host_and_inside_jit(scheme: str):
    """Made by NumPy and inside jit: of one treedef, so that both fit one tree.map or cond."""
    weights = np.random.default_rng(0).normal(size=(32, 64)).astype("f4")
    host = Quantized.of(weights, scheme)
    traced = jax.jit(lambda w: Quantized.of(w, scheme))(weights)
    assert jax.tree.structure(host) == jax.tree.structure(traced)
    np.testing.assert_allclose(host.dequantize(), traced.dequantize(), rtol=1e-5, atol=1e-6)


LARGE = np.random.default_rng(0).normal(size=(256, 256)).astype("f4") * np.float32(1e36)


@pytest.mark.parametrize("scheme", ["q6_k:pure", "iq4_xs:pure", "q8_0", "q4_k:pure"])
def test_weights_beyond_the_scales_are_refused(scheme: str):
    with pytest.raises(InputError, match=r"^up/kernel: holds"):
        ex.quantize({"up": {"kernel": LARGE}}, scheme)


@pytest.mark.parametrize("scheme", ["int8", "nf4", "mxfp4"])
def test_wide_scales_keep_them(scheme: str):
    tree, change = ex.quantize({"up": {"kernel": LARGE}}, scheme)
    found = np.asarray(tree["up"]["kernel"].dequantize(), np.float64)
    lost = np.linalg.norm(found - LARGE) / np.linalg.norm(LARGE.astype(np.float64))
    assert lost < 0.2
    assert change.relative_error == pytest.approx(lost, rel=1e-3)


def test_small_weights_that_become_zeros_are_said():
    kernel = np.full((64, 64), 1e-30, "f4")
    change = ex.quantize({"up": {"kernel": kernel}}, "q8_0")[1]
    assert change.relative_error == 1
    assert "up/kernel: nothing is left of it" in str(change)


@pytest.mark.parametrize(
    "scheme", ["int8", "int4:g32:asym", "nf4", "nf4:double", "fp8", "mxfp4"]
)
def test_gradients_of_a_tree_of_numpy_parts(scheme: str):
    """Integers stay NumPy's where JAX traces floats; what is plain gets its gradient, parts none."""
    kernel = np.random.default_rng(0).normal(size=(128, 64)).astype("float32")
    tree, _ = ex.quantize(
        {"mlp": {"kernel": kernel}, "gain": np.ones(64, "float32")}, scheme
    )
    x = np.ones((2, 128), "float32")

    def loss(tree: Any) -> Any:
        plain = ex.dequantize(tree)
        return ((x @ plain["mlp"]["kernel"]) * plain["gain"]).sum()

    found = jax.grad(loss, allow_int=True)(tree)
    expected = (x.astype(float) @ np.asarray(tree["mlp"]["kernel"]).astype(float)).sum(0)
    np.testing.assert_allclose(found["gain"], expected, rtol=1e-4, atol=1e-4)
    for part in jax.tree.leaves(found["mlp"]["kernel"]):
        assert part.dtype == jax.dtypes.float0 or not np.asarray(part).astype(float).any()
