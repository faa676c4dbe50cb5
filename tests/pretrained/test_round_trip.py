"""Tensors -> parameters -> the same tensors, for every family, format and layout."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.errors import TreeError
from explorer.models.declare import declare
from explorer.pretrained import from_tensors, to_checkpoint
from tests.pretrained.tiny import FORMATS, architecture, checkpoint, configs

CONFIGS = configs()
LLAMA = CONFIGS["meta-llama/Llama-2-7b-hf"]


def same(a: dict, b: dict) -> bool:
    """Whether two checkpoints have the same names, shapes, formats and bytes."""
    assert set(a) == set(b)
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        assert a[name].tobytes() == b[name].tobytes(), name
    return True


def leaves(params: dict) -> dict:
    """Leaves by their path."""
    found = jax.tree_util.tree_flatten_with_path(params)[0]
    return {tuple(key.key for key in path): leaf for path, leaf in found}


@pytest.mark.parametrize("model", CONFIGS)
def test_tensors_survive_both_layouts(model: str):
    config = CONFIGS[model]
    dtype = FORMATS[len(model) % len(FORMATS)]
    tensors = checkpoint(config, dtype)
    for scan in (False, True):
        module, params = from_tensors(config, tensors, scan=scan)
        assert module.scan is scan
        declared = {leaf.path: leaf.shape for leaf in declare(architecture(config), scan)}
        found = leaves(params)
        assert {path: leaf.shape for path, leaf in found.items()} == declared
        assert {leaf.dtype.name for leaf in found.values()} == {dtype}
        assert sum(leaf.size for leaf in found.values()) == sum(
            tensor.size for tensor in tensors.values()
        )
        assert same(to_checkpoint(params, config), tensors)


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_format_survives(dtype: str):
    tensors = checkpoint(LLAMA, dtype)
    assert same(to_checkpoint(from_tensors(LLAMA, tensors)[1], LLAMA), tensors)


@pytest.mark.parametrize("model", CONFIGS)
def test_the_base_prefix_may_be_left_out_or_put_in(model: str):
    config = CONFIGS[model]
    prefixed, bare = checkpoint(config, bare=False), checkpoint(config, bare=True)
    # the same values under both spellings
    bare = dict(zip(bare, prefixed.values(), strict=True))
    one, other = (from_tensors(config, each)[1] for each in (prefixed, bare))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def test_kernels_are_transposed_and_layers_stacked_in_order():
    tensors = checkpoint(LLAMA)
    params = from_tensors(LLAMA, tensors)[1]
    stacked = from_tensors(LLAMA, tensors, scan=True)[1]["stages_0"]["block_0"]
    for index in range(3):
        kernel = params[f"layers_{index}"]["mlp"]["down_proj"]["kernel"]
        stored = tensors[f"model.layers.{index}.mlp.down_proj.weight"]
        assert np.array_equal(kernel, stored.T)
        assert np.array_equal(stacked["mlp"]["down_proj"]["kernel"][index], stored.T)


def test_arrays_given_are_copied():
    tensors = checkpoint(LLAMA)
    before = {name: tensor.copy() for name, tensor in tensors.items()}
    params = from_tensors(LLAMA, tensors)[1]
    for tensor in tensors.values():
        tensor[...] = 0
    assert same(to_checkpoint(params, LLAMA), before)
    assert set(tensors) == set(before)


def test_jax_arrays_are_taken_too():
    tensors = checkpoint(LLAMA)
    given: dict[str, Any] = {name: jnp.asarray(a) for name, a in tensors.items()}
    assert same(to_checkpoint(from_tensors(LLAMA, given)[1], LLAMA), tensors)


@pytest.mark.parametrize("dtype", ["bfloat16", jnp.bfloat16, np.float16])
def test_dtype_is_that_of_every_leaf(dtype: Any):
    tensors = checkpoint(LLAMA)
    params = from_tensors(LLAMA, tensors, dtype=dtype)[1]
    table = params["embed"]["embedding"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    # NumPy's own rounding, to nearest even
    rounded = tensors["model.embed_tokens.weight"].astype(jnp.dtype(dtype))
    assert np.array_equal(table, rounded)


def test_stacked_layers_of_two_formats_keep_every_value():
    tensors = checkpoint(LLAMA)
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name] = tensors[name].astype("float16")
    stacked = from_tensors(LLAMA, tensors, scan=True)[1]["stages_0"]["block_0"]
    kernel = stacked["mlp"]["up_proj"]["kernel"]
    assert kernel.dtype == "float32"
    assert np.array_equal(kernel[1], tensors[name].T)
    params = from_tensors(LLAMA, tensors)[1]
    assert params["layers_1"]["mlp"]["up_proj"]["kernel"].dtype == "float16"


@pytest.fixture
def x64() -> Iterator[None]:
    """JAX with 64-bit arrays."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.usefixtures("x64")
def test_float64_is_kept_where_jax_keeps_it():
    tensors = checkpoint(LLAMA, "float64")
    assert same(to_checkpoint(from_tensors(LLAMA, tensors)[1], LLAMA), tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: p.pop("final_norm"),
            "params: lacks final_norm/scale; expected the parameters of this config's "
            'LlamaForCausalLM; give what is under "params", in either layout',
        ),
        (
            lambda p: p.update(more={"bias": np.zeros(3)}),
            "params: has unexpected more/bias; expected",
        ),
        (
            lambda p: p["embed"].update(embedding=np.zeros((3, 4))),
            "params/embed/embedding: has shape [3, 4]; expected [40, 32]",
        ),
        (
            lambda p: p.pop("layers_0"),
            "params: lacks layers_0/attention_norm/scale, layers_0/attention/query/kernel, "
            "layers_0/attention/key/kernel and 6 more; expected",
        ),
    ],
)
def test_parameters_of_another_model(change, message: str):
    params = from_tensors(LLAMA, checkpoint(LLAMA))[1]
    change(params)
    with pytest.raises(TreeError) as error:
        to_checkpoint(params, LLAMA)
    assert str(error.value).startswith(message)


def test_parameters_that_are_no_tree():
    with pytest.raises(TreeError, match="params: is list; expected a nested dict"):
        to_checkpoint([1], LLAMA)  # pyright: ignore[reportArgumentType]
