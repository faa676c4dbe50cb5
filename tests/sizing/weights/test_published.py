"""Models that are published in packed formats are planned in those: to the bytes of their files."""

from pathlib import Path

import pytest

import explorer as ex
from explorer.architectures.catalog.entries import CatalogEntry, entries, find
from tests.sizing.weights.subjects import weights

LLAMA = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
    "num_attention_heads": 4, "vocab_size": 1000, "torch_dtype": "float16",
    "tie_word_embeddings": False,
}  # fmt: skip
LINEAR = 2 * (4 * 256 * 256 + 3 * 256 * 512)
REST = 2 * 1000 * 256 + (2 * 2 + 1) * 256
ROWS = 2 * (4 * 256 + 2 * 512 + 256)  # outputs of all linear layers


def entry(name: str) -> CatalogEntry:
    found = find(name)
    assert isinstance(found, CatalogEntry)
    return found


def fp8(inputs: int, outputs: int) -> int:
    """Bytes of a matrix in fp8 with a float32 scale for each block of 128 x 128."""
    return inputs * outputs + 4 * -(-inputs // 128) * -(-outputs // 128)


@pytest.mark.parametrize("name", ["gpt-oss-20b", "gpt-oss-120b", "grok-1"])
def test_the_whole_file(name: str):
    assert weights(name).bytes == entry(name).file_bytes


def test_kimi_k2():
    """The file holds rotary frequencies and the routers' correction biases besides."""
    frequencies, biases = 61 * 32 * 4, 60 * 384 * 4
    assert weights("kimi-k2").bytes + frequencies + biases == entry("kimi-k2").file_bytes


def test_deepseek_v3():
    """The file holds a layer for multi-token prediction, with a table and a head of its own."""
    h, latent, heads = 7168, 512, 128
    attention = (
        fp8(h, 1536) + fp8(1536, heads * 192) + fp8(h, latent + 64)
        + fp8(latent, heads * 256) + fp8(heads * 128, h)
    )  # fmt: skip
    expert = 2 * fp8(h, 2048) + fp8(2048, h)
    norms = 2 * (
        1536 + latent + 2 * h + 3 * h
    )  # of the layer, and of what enters and leaves it
    router, joined, tables = 2 * 256 * h, 2 * 2 * h * h, 2 * 2 * 129280 * h
    layer = attention + 257 * expert + norms + router + joined + tables
    biases = 59 * 256 * 4
    assert weights("deepseek-v3").bytes + layer + biases == entry("deepseek-v3").file_bytes


def test_the_note_says_so():
    assert "as published: FP8 in blocks of 128 x 128" in weights("deepseek-v3").note


@pytest.mark.parametrize("settings", [{"dtype": "bfloat16"}, {"train": True}])
def test_another_dtype_and_training_are_not_in_the_published_format(settings: dict):
    found = weights("gpt-oss-20b", **settings)
    assert (found.bytes, found.scales) == (2 * entry("gpt-oss-20b").parameters, 0)


BNB = {"quant_method": "bitsandbytes"}
CONFIGS = [
    ({"quant_method": "fp8", "weight_block_size": [128, 128]}, LINEAR // 128**2 * 4, LINEAR),
    ({"quant_method": "fp8"}, 2 * 7 * 4, LINEAR),
    ({"quant_method": "gptq", "bits": 4, "group_size": 128}, LINEAR // 128 * 5 // 2, LINEAR // 2),
    ({"quant_method": "gptq", "bits": 8, "group_size": 64}, LINEAR // 64 * 3, LINEAR),
    ({"quant_method": "awq", "bits": 4, "group_size": 64}, LINEAR // 64 * 5 // 2, LINEAR // 2),
    (BNB | {"load_in_8bit": True}, 4 * ROWS, LINEAR),
    (BNB | {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, LINEAR // 64 * 4, LINEAR // 2),
]  # fmt: skip


@pytest.mark.parametrize(("packing", "scales", "values"), CONFIGS)
def test_the_quantization_config_of_a_config(packing: dict, scales: int, values: int):
    found = weights(LLAMA | {"quantization_config": packing})
    assert (found.scales, found.values) == (scales, values + 2 * REST)
    assert "quantization_config" in found.note


def test_a_method_that_has_no_rule_is_said(tmp_path: Path):
    found = weights(LLAMA | {"quantization_config": {"quant_method": "quip"}})
    assert found.values == 2 * (LINEAR + REST)
    assert found.provenance == "assumed (as before packing: quip has no rule here)"


@pytest.mark.parametrize("name", [e.names[0] for e in entries() if e.file_format])
def test_every_catalogued_format_is_planned_as_such(name: str):
    assert weights(name).note.startswith(
        f"as published: {entry(name).file_format.split(' (')[0]}"
    )


# what llm-compressor writes for W4A16, W8A8, FP8 and NVFP4, and the bits of a matrix
COMPRESSED = {
    "W4A16": ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}, 4 + 16 / 128),
    "W8A8": ({"num_bits": 8, "type": "int", "strategy": "channel"}, None),
    "FP8": ({"num_bits": 8, "type": "float", "strategy": "channel"}, None),
    "NVFP4": ({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}, 4.5),
}  # fmt: skip


@pytest.mark.parametrize("preset", COMPRESSED)
def test_compressed_tensors_of_one_group(preset: str):
    arguments, bits = COMPRESSED[preset]
    group = {"group_0": {"targets": ["Linear"], "weights": arguments}}
    packing = {
        "quant_method": "compressed-tensors",
        "config_groups": group,
        "ignore": ["lm_head"],
    }
    plan = ex.plan(LLAMA | {"quantization_config": packing})
    held = {term.name: term for term in plan.terms}
    assert held["parameters"].provenance == "inferred (scales in the dtypes that are usual)"
    values = LINEAR * arguments["num_bits"] // 8
    assert held["parameters"].bytes == values + 2 * REST
    if bits is not None:
        found = 8 * (values + held["quantization"].bytes) / LINEAR
        assert found == pytest.approx(bits, abs=1e-3)  # a float a tensor besides


def test_compressed_tensors_of_several_groups_are_not_guessed():
    group = {"targets": ["re:.*down_proj"], "weights": COMPRESSED["FP8"][0]}
    packing = {
        "quant_method": "compressed-tensors",
        "config_groups": {"a": group, "b": group},
    }
    plan = ex.plan(LLAMA | {"quantization_config": packing})
    assert plan.terms[0].provenance.startswith("assumed")
