"""GGUF: block types, llama.cpp's mixes and whole files, against published figures."""

import re
from math import prod

import gguf
import pytest

from explorer import dtypes
from explorer.architectures.resolve import resolve
from explorer.errors import InputError
from explorer.sizing.weights.gguf_blocks import MIXES, TYPES, block_piece, fitting_type
from explorer.sizing.weights.gguf_files import tensor_types
from explorer.sizing.weights.gguf_tensors import gguf_tensors
from explorer.sizing.weights.parsing import parse_scheme
from tests.sizing.weights.subjects import facts, subject, weights

GGUF = facts("gguf")
SNAPSHOTS = {k: v for k, v in facts("gguf_snapshots").items() if k != "source"}
CASES = [(model, mix) for model, mixes in SNAPSHOTS.items() for mix in mixes]


def rows(name: str) -> list[tuple[str, str]]:
    return list(GGUF[name]["rows"].items())


@pytest.mark.parametrize(("name", "bits"), rows("block_bits"))
def test_bits_of_a_block(name: str, bits: float):
    piece = block_piece(name, (3, 512))
    assert 8 * piece.bytes / piece.elements == bits
    assert piece.values
    assert piece.scales


@pytest.mark.parametrize("name", TYPES)
def test_blocks_are_those_of_the_gguf_package(name: str):
    sizes = {kind.name.lower(): size for kind, size in gguf.GGML_QUANT_SIZES.items()}
    if name in sizes:
        block, size = sizes[name]
        assert (dtypes.find(name).block, dtypes.find(name).block_bytes) == (block, size)
        assert 0 < block_piece(name, (block,)).values <= size


@pytest.mark.parametrize(("mix", "bits"), rows("bits_per_weight"))
def test_bits_per_weight_of_llama_3_1_8b(mix: str, bits: str):
    found = weights("llama-3.1-8b", quantize=mix)
    elements = sum(total.elements for total in found.by_type.values())
    assert f"{8 * found.bytes / elements:.4f}" == bits
    if mix in GGUF["bits_per_weight"]["gib"]:
        assert f"{found.bytes / 2**30:.2f}" == GGUF["bits_per_weight"]["gib"][mix]


@pytest.mark.parametrize(("mix", "bits"), rows("older_bits_per_weight"))
def test_bits_per_weight_of_llama_2_7b(mix: str, bits: str):
    found = weights("llama-2-7b", quantize=mix)
    assert f"{8 * found.bytes / 6_738_415_616:.2f}" == bits


@pytest.mark.parametrize(("mix", "size"), rows("gigabytes"))
def test_gigabytes_of_llama_2_70b(mix: str, size: str):
    assert f"{weights('llama-2-70b', quantize=mix).bytes / 1e9:.2f}" == size


def test_a_real_file():
    """Rows of 640 are not whole blocks of 256: most tensors fall back to another type."""
    fact = GGUF["file"]
    found = weights(fact["model"], quantize=fact["mix"])
    assert found.bytes == fact["bytes"]
    assert {name: total.tensors for name, total in found.by_type.items()} == fact["tensors"]


def layers_in(text: str, present: list[int]) -> set[int]:
    if text == "*":
        return set(present)
    ranges = [part.split("-") for part in text.split()]
    return {i for part in ranges for i in range(int(part[0]), int(part[-1]) + 1)}


@pytest.mark.parametrize(("model", "mix"), CASES)
def test_types_of_layers_are_llama_cpps(model: str, mix: str):
    raised = SNAPSHOTS[model][mix]
    found: dict[str, dict[int, str]] = {}
    architecture = resolve(model).architecture
    for tensor, kind in tensor_types(architecture, parse_scheme(mix), importances=False):
        part = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", tensor.name)
        if part and len(tensor.shape) > 1 and part[2] not in ("ffn_gate_inp", "attn_k_b"):
            found.setdefault(part[2], {})[int(part[1])] = kind
    for part, types in found.items():
        expected = dict.fromkeys(types, MIXES[mix])
        for kind, layers in raised.get(part, {}).items():
            expected |= dict.fromkeys(layers_in(layers, list(types)), kind)
        assert types == expected, part
    assert set(raised) <= set(found)


def test_queries_keys_and_values_together_are_raised_as_values():
    types = tensor_types(resolve("gpt2").architecture, parse_scheme("Q4_K_M"))
    joined = [kind for tensor, kind in types if tensor.name.endswith("attn_qkv.weight")]
    assert joined == ["q6_k" if i in (0, 3, 6, 9, 10, 11) else "q4_k" for i in range(12)]


def test_eight_experts_are_raised():
    types = {
        tensor.name: kind
        for tensor, kind in tensor_types(
            resolve("mixtral-8x7b").architecture, parse_scheme("Q4_K_M")
        )
    }
    assert types["blk.5.attn_v.weight"] == types["blk.5.attn_k.weight"] == "q8_0"
    assert types["blk.5.attn_output.weight"] == "q5_k"
    assert types["blk.5.ffn_gate_inp.weight"] == "float32"


def test_rows_that_blocks_do_not_divide():
    """Of tensor_type_fallback in llama-quant.cpp, one case of each of its lines."""
    assert fitting_type("iq2_xxs", 288) == "iq4_nl"
    assert fitting_type("q3_k", 288) == "q4_0"
    assert fitting_type("q4_k", 288) == "q5_0"
    assert fitting_type("q5_k", 288) == "q5_1"
    assert fitting_type("q6_k", 288) == "q8_0"
    assert fitting_type("q6_k", 100) == "float16"
    assert fitting_type("q4_0", 100) is None


def test_a_row_that_llama_cpp_refuses():
    config = {"model_type": "gpt2", "n_embd": 40, "n_layer": 1, "n_head": 2}
    with pytest.raises(InputError, match=r"llama\.cpp cannot store rows of 40 as q8_0"):
        weights(config | {"n_positions": 8, "vocab_size": 9}, quantize="Q4_1")


def test_an_importance_matrix_spares_the_first_layers():
    """Without one, llama.cpp raises ffn_down in the first eighth of an IQ4_XS file."""
    raised = weights("llama-3.1-8b", quantize="IQ4_XS").bytes
    spared = weights("llama-3.1-8b", quantize="IQ4_XS:imatrix").bytes
    assert raised - spared == 4 * 14336 * 4096 // 256 * (176 - 136)
    again = weights("llama-3.1-8b", quantize="IQ3_XXS:imatrix").bytes
    assert again == weights("llama-3.1-8b", quantize="IQ3_XXS").bytes  # needs one anyway


def test_one_type_for_all():
    found = weights("llama-2-7b", quantize="Q4_K:pure")
    assert set(found.by_type) == {"q4_k", "float32"}
    assert found.by_type["float32"].elements == (2 * 32 + 1) * 4096


def test_a_model_that_llama_cpp_does_not_have():
    with pytest.raises(
        InputError, match=r"llama\.cpp has no opt; expected a scheme for any"
    ):
        weights("opt-125m", quantize="Q4_K_M")


def test_without_an_architecture_a_mix_is_refused_and_one_type_is_not():
    import numpy as np

    tree = {"dense": {"kernel": np.ones((512, 256), "float32"), "bias": np.ones(256)}}
    with pytest.raises(InputError, match="which the mixing rule of Q4_K_M needs"):
        weights(tree, quantize="Q4_K_M")
    found = weights(tree, quantize="Q4_K:pure")
    assert found.by_type["q4_k"].bytes == 512 * 256 // 256 * 144
    assert found.by_type["float32"].bytes == 256 * 4


def test_latent_attention_is_stored_as_two_halves():
    """Keys have rows of 128, which blocks of 256 do not divide."""
    types = tensor_types(resolve("deepseek-v3").architecture, parse_scheme("Q4_K_M"))
    halves = {
        (t.name[6:], t.shape, k) for t, k in types if t.name.startswith("blk.0.attn_")
    }
    assert ("attn_k_b.weight", (128, 512, 128), "q5_0") in halves
    assert ("attn_v_b.weight", (128, 128, 512), "q4_k") in halves


def test_every_parameter_is_in_the_file():
    for name in (
        "llama-3.1-405b",
        "deepseek-v3",
        "gpt-oss-120b",
        "grok-1",
        "phi-3-mini",
        "olmo-2-7b",
    ):
        sized = subject(name)
        found = weights(name, quantize="Q5_K_M")
        elements = sum(total.elements for total in found.by_type.values())
        beside = elements - sized.inventory.num_parameters
        assert 0 <= beside < 20_000, name  # correction biases and rotary factors


def test_deepseek_r1_with_both_forms_of_latent_attention():
    """A file of a fork keeps `attn_kv_b` beside its halves: 672.050 B, 670.196 B in layers."""
    found = gguf_tensors(resolve("deepseek-r1").architecture)
    sizes = {tensor.name: prod(tensor.shape) for tensor in found}
    halves = sum(
        n
        for name, n in sizes.items()
        if name.endswith(("attn_k_b.weight", "attn_v_b.weight"))
    )
    layers = halves + sum(n for name, n in sizes.items() if name.startswith("blk."))
    outside = sum(n for name, n in sizes.items() if not name.startswith("blk."))
    assert f"{(layers + outside) / 1e9:.3f} {layers / 1e9:.3f}" == "672.050 670.196"


def test_eight_billion_parameters_in_four_bits_and_in_32():
    """Of llama.cpp's README: 32.1 GB become 4.9."""
    plain = weights("llama-3.1-8b", dtype="float32").bytes
    quantised = weights("llama-3.1-8b", quantize="Q4_K_M").bytes
    assert f"{plain / 1e9:.1f} {quantised / 1e9:.1f}" == "32.1 4.9"
