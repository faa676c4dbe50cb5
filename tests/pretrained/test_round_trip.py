"""Tensors -> parameters -> the same tensors, for every family, format and layout."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from explorer.architectures.declaration import declare
from explorer.errors import InputError, TreeError
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


def test_layers_of_two_formats_are_kept_and_not_stacked_in_silence():
    tensors = checkpoint(LLAMA)
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name] = tensors[name].astype("float16")
    assert same(to_checkpoint(from_tensors(LLAMA, tensors)[1], LLAMA), tensors)
    with pytest.raises(InputError) as error:
        from_tensors(LLAMA, tensors, scan=True)
    assert str(error.value) == (
        "config: would stack model.layers.0.mlp.up_proj.weight float32 and "
        f"{name} float16; expected one dtype in a stack; "
        'pass dtype="float32", or scan=False'
    )
    stacked = from_tensors(LLAMA, tensors, scan=True, dtype="float32")[1]
    kernel = stacked["stages_0"]["block_0"]["mlp"]["up_proj"]["kernel"]
    assert np.array_equal(kernel[1], tensors[name].T)


def test_experts_of_two_formats_are_stacked_in_either_layout():
    mixtral = CONFIGS["mistralai/Mixtral-8x7B-v0.1"]
    tensors = checkpoint(mixtral, "float16")
    name = "model.layers.1.block_sparse_moe.experts.2.w1.weight"
    tensors[name] = tensors[name].astype(ml_dtypes.bfloat16)
    with pytest.raises(InputError) as error:
        from_tensors(mixtral, tensors)
    assert str(error.value) == (
        "config: would stack model.layers.1.block_sparse_moe.experts.0.w1.weight float16 "
        f'and {name} bfloat16; expected one dtype in a stack; pass dtype="float32"'
    )


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
            'LlamaForCausalLM; pass the content of "params", in either layout',
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


def refused(params: Any, config: Any = LLAMA) -> str:
    with pytest.raises(TreeError) as error:
        to_checkpoint(params, config)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_arguments_that_are_not_tree():
    params = from_tensors(LLAMA, checkpoint(LLAMA))[1]
    assert refused([1]) == "params: is list; expected a nested dict of arrays"
    content = "expected a dict, the content of a config.json"
    assert refused(params, None) == f"config: is NoneType; {content}"
    assert refused(params, "gpt2") == f"config: is str; {content}"


def donated() -> jax.Array:
    array = jnp.ones(32)
    array.delete()
    return array


HELD = "expected an array of NumPy or JAX"


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (None, f"is NoneType; {HELD}"),
        ("abc", f"is str; {HELD}"),
        ([[1], [1, 2]], f"is list; {HELD}"),
        (
            jax.ShapeDtypeStruct((32,), "float32"),
            f"is ShapeDtypeStruct, which holds no values; {HELD}",
        ),
        (
            donated(),
            f"is ArrayImpl, whose values NumPy cannot read; {HELD} that holds values",
        ),
        (
            np.ones(32, "int32"),
            "is int32; expected float16, bfloat16, float32, float64",
        ),
        (
            np.array([None] * 32),
            "is object; expected float16, bfloat16, float32, float64",
        ),
    ],
)
def test_leaves_that_no_checkpoint_holds(leaf: object, message: str):
    params = from_tensors(LLAMA, checkpoint(LLAMA))[1]
    params["final_norm"]["scale"] = leaf
    assert refused(params) == f"params/final_norm/scale: {message}"


def test_parameters_inside_a_compiled_function():
    params = from_tensors(LLAMA, checkpoint(LLAMA))[1]
    with pytest.raises(TreeError, match="Tracer, whose values NumPy cannot read"):
        jax.jit(lambda p: to_checkpoint(p, LLAMA))(params)


def test_leaves_of_two_formats_that_one_tensor_holds():
    gpt2 = CONFIGS["openai-community/gpt2"]
    params = from_tensors(gpt2, checkpoint(gpt2))[1]
    query = params["layers_0"]["attention"]["query"]
    query["kernel"] = query["kernel"].astype("bfloat16")
    assert refused(params, gpt2) == (
        "params: layers_0/attention/query/kernel, layers_0/attention/key/kernel, "
        "layers_0/attention/value/kernel are bfloat16 and float32; expected one dtype, "
        "because transformer.h.0.attn.c_attn.weight holds them all"
    )
