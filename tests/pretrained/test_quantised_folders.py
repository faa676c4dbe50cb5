"""Packed weights loaded as a model's parameters: what explorer wrote, what libraries wrote, and
what does not fit together.

`tests/data/packed/make.py` wrote the libraries' files, and what they make of them again.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.formats.files import load_path
from explorer.pretrained import from_tensors
from explorer.transforms.quantisation.file_parts import file_parts, quantization_config
from explorer.transforms.quantisation.quantized import Quantized
from tests.cli.in_process import run
from tests.pretrained.test_round_trip import CONFIGS
from tests.pretrained.tiny import checkpoint

LLAMA = CONFIGS["meta-llama/Llama-2-7b-hf"] | {
    "hidden_size": 128, "intermediate_size": 256, "vocab_size": 48, "num_hidden_layers": 2,
}  # fmt: skip
TENSORS = checkpoint(LLAMA)
LINEAR = sorted(n for n in TENSORS if n.endswith("proj.weight"))
QUERY = "model.layers.0.self_attn.q_proj"
TOKENS = jnp.arange(12).reshape(2, 6)
SCHEMES = (
    "nf4",
    "nf4:double",
    "nf4:g128",
    "fp4",
    "fp4:double",
    "int8",
    "int8:asym",
    "int8:channel",
    "int8:tensor",
    "int8:g128",
    "int4:g64",
    "int4:channel",
    "int4:g128:asym",
    "fp8",
    "fp8:channel",
    "fp8:block",
    "mxfp4",
    "nvfp4",
)
# its file holds the reciprocal of the scale of the tensor, as compressed-tensors does
ROUNDED = {"nvfp4": 2**-22}
DATA = Path(__file__).parents[1] / "data" / "packed"
MADE = load_path(str(DATA / "expected.safetensors"), lambda key: True)
LIBRARIES = sorted(
    n for n in map(str, MADE) if n.startswith(("bitsandbytes", "compressed"))
)


def parts_in(scheme: str) -> tuple[dict, dict[str, np.ndarray]]:
    """A config and tensors, whose linear layers a scheme stores."""
    tensors = {name: array for name, array in TENSORS.items() if name not in LINEAR}
    for name in LINEAR:
        tensors |= file_parts(scheme, name, TENSORS[name].astype(np.float32))
    return LLAMA | {"quantization_config": quantization_config(scheme)}, tensors


def dequantised(scheme: str) -> dict[str, np.ndarray]:
    plain = {
        name: np.asarray(Quantized.of(TENSORS[name].astype(np.float32), scheme))
        for name in LINEAR
    }
    return {name: np.asarray(array) for name, array in (TENSORS | plain).items()}


def logits(model: Any, params: Any) -> jax.Array:
    return jax.jit(model.apply)({"params": params}, TOKENS).logits


def assert_same(found, expected, rtol: float = 0.0) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=0)


def message(config: dict, tensors: dict[str, np.ndarray]) -> str:
    with pytest.raises(InputError) as caught:
        from_tensors(config, tensors)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_of_packed_weights_is_that_of_dequantised_ones(scheme: str):
    _, found = from_tensors(*parts_in(scheme))
    _, expected = from_tensors(LLAMA, dequantised(scheme))
    assert_same(found, expected, ROUNDED.get(scheme, 0.0))


@pytest.mark.parametrize("scheme", ["nf4:double", "int4:g64", "int8", "fp8:block"])
def test_a_written_folder_is_read_again(tmp_path: Path, scheme: str):
    plain = tmp_path / "plain"
    plain.mkdir()
    arrays = {name: np.asarray(array, np.float32) for name, array in TENSORS.items()}
    save_file(arrays, plain / "model.safetensors")
    (plain / "config.json").write_text(json.dumps(LLAMA))
    packed = str(tmp_path / "packed")
    ran = run("quantize", str(plain), "--to", scheme, "-o", packed)
    assert ran.returncode == 0, ran.stderr

    tree, _ = ex.quantize(plain, scheme, measure=False)
    assert_same(ex.load(packed), ex.dequantize(tree))
    query = ex.load(packed, "**/layers/1/self_attn/q_proj/weight")
    (one,) = jax.tree.leaves(query)
    assert (one.shape, one.dtype.name) == ((128, 128), "float32")

    model, params = ex.load_pretrained(packed, dtype="bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"bfloat16"}
    _, wide = ex.load_pretrained(packed)
    assert_same(params, jax.tree.map(lambda leaf: leaf.astype("bfloat16"), wide))
    _, expected = from_tensors(LLAMA, dequantised(scheme))
    assert_same(logits(model, wide), logits(model, expected))
    assert jnp.isfinite(logits(model, wide)).all()


def test_a_tree_of_quantised_leaves_is_read_again(tmp_path: Path):
    tree, _ = ex.quantize({"mlp": {"up": {"weight": TENSORS[LINEAR[0]]}}}, "nf4", "**")
    ex.save(tree, tmp_path / "a.safetensors")
    assert_same(ex.load(tmp_path / "a.safetensors"), ex.dequantize(tree))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_makes_the_same_of_its_file(name: str):
    (found,) = jax.tree.leaves(ex.load(DATA / f"{name}.safetensors"))
    rtol = 2**-23 if name == "bitsandbytes_int8" else 0.0  # in another order of products
    np.testing.assert_allclose(found, MADE[name], rtol=rtol, atol=0)


def test_experts_that_are_packed_with_outputs_first():
    config = CONFIGS["openai/gpt-oss-20b"] | {"hidden_size": 64, "intermediate_size": 96}
    tensors = {n: np.asarray(a, np.float32) for n, a in checkpoint(config).items()}
    packed, plain = dict(tensors), dict(tensors)
    for name in [n for n in tensors if n.endswith(("gate_up_proj", "down_proj"))]:
        rows = packed.pop(name).swapaxes(1, 2)
        packed |= file_parts("mxfp4", name, rows)
        plain[name] = np.asarray(Quantized.of(rows, "mxfp4")).swapaxes(1, 2)
    said = config | {"quantization_config": {"quant_method": "mxfp4"}}
    assert_same(from_tensors(said, packed)[1], from_tensors(config, plain)[1])


LACKING = [
    ("nf4", "weight.absmax"),
    ("nf4", "weight.quant_map"),
    ("nf4", "weight.quant_state.bitsandbytes__nf4"),
    ("nf4:double", "weight.nested_absmax"),
    ("int8", "SCB"),
    ("int4:g64", "weight_scale"),
    ("int4:g64:asym", "weight_zero_point"),
    ("fp8:block", "weight_scale_inv"),
    ("nvfp4", "weight_global_scale"),
    ("mxfp4", "weight_scale"),
]


@pytest.mark.parametrize(("scheme", "part"), LACKING)
def test_without_a_companion(scheme: str, part: str):
    config, tensors = parts_in(scheme)
    del tensors[f"{QUERY}.{part}"]
    assert QUERY in message(config, tensors)


@pytest.mark.parametrize(("scheme", "part"), [each for each in LACKING if each[1] != "weight.quant_map"])  # fmt: skip
def test_a_companion_of_another_size(scheme: str, part: str):
    config, tensors = parts_in(scheme)
    key = f"{QUERY}.{part}"
    tensors[key] = tensors[key][:-1]
    assert QUERY in message(config, tensors)


def _nan(array: np.ndarray) -> np.ndarray:
    found = array.copy()
    found.reshape(-1)[1] = 255 if array.dtype == np.uint8 else np.nan
    return found


def _state(array: np.ndarray, **fields: object) -> np.ndarray:
    said = json.loads(array.tobytes()) | fields
    return np.frombuffer(json.dumps(said).encode(), np.uint8)


@pytest.mark.parametrize(
    ("scheme", "part", "edit", "words"),
    [
        ("nf4", "weight.absmax", _nan, "its row 0 is not finite"),
        ("int8", "SCB", _nan, "its row 1 is not finite"),
        ("int4:g64", "weight_scale", _nan, "its row 0 is not finite"),
        ("fp8:channel", "weight_scale", _nan, "its row 1 is not finite"),
        ("mxfp4", "weight_scale", _nan, "its row 0 is not finite"),
        (
            "nf4",
            "weight.quant_state.bitsandbytes__nf4",
            lambda array: _state(array, quant_type="nf5"),
            "quant_state says a quant_type of 'nf5'",
        ),
    ],
)
def test_parts_that_say_nothing(scheme: str, part: str, edit: Callable, words: str):
    config, tensors = parts_in(scheme)
    tensors[f"{QUERY}.{part}"] = edit(tensors[f"{QUERY}.{part}"])
    assert message(config, tensors) == (
        f"config: {QUERY}.weight cannot be dequantised: {words}; expected codes, and scales "
        "that fit them; fetch or write the file again"
    )


def test_a_method_that_is_not_decoded_is_named():
    config = LLAMA | {"quantization_config": {"quant_method": "aqlm"}}
    tensors = {name: array for name, array in TENSORS.items() if name not in LINEAR}
    for name in LINEAR:
        stem = name.removesuffix(".weight")
        tensors[f"{stem}.codes"] = np.zeros((16, 2, 1), np.int16)
        tensors[f"{stem}.codebooks"] = np.zeros((1, 256, 1, 8), np.float16)
        tensors[f"{stem}.scales"] = np.zeros((16, 1, 1, 1), np.float16)
    assert message(config, tensors).startswith("config: specifies aqlm weights; expected ")
