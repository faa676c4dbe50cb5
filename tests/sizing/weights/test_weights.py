"""Weights as a dtype, as a file stores them, on devices, and those that one token reads."""

from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.architectures.catalog.entries import entries
from explorer.errors import InputError
from tests.checkpoints import Layout, write_folder
from tests.sizing.weights.subjects import subject, weights

MIXTURES = [entry for entry in entries() if entry.active]


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2), ("int8", 1)])
def test_every_parameter_is_cast(dtype: str, size: int):
    found = weights("llama-2-70b", dtype=dtype)
    assert (found.bytes, found.scales) == (size * 68_976_648_192, 0)
    assert set(found.by_type) == {dtype}


def test_the_seeds_table():
    """GPT-2 of 3 GB in 16 bits is the XL of 1.5B; LLaMA 2 takes 14 to 140 GB."""
    sizes = [
        weights(name, dtype="float16").bytes / 1e9 for name in ("gpt2-xl", "llama-2-7b")
    ]
    assert [f"{size:.1f}" for size in sizes] == ["3.1", "13.5"]
    assert f"{weights('llama-2-70b', dtype='float16').bytes / 1e9:.0f}" == "138"


@pytest.mark.parametrize(
    ("dtype", "cure"), [("nf4", "--quantize nf4"), ("q8_0", "--quantize Q8_0:pure")]
)
def test_a_format_of_blocks_is_not_a_dtype(dtype: str, cure: str):
    with pytest.raises(InputError, match=f"{dtype} is a format of blocks.*{cure}"):
        weights("gpt2", dtype=dtype)


def test_a_tied_head_counts_once():
    assert weights("gpt2").bytes == 4 * 124_439_808


def gptq_layout() -> Layout:
    layout: Layout = {"model.embed_tokens.weight": ((100, 256), "F16")}
    for name in ("q_proj", "k_proj"):
        at = f"model.layers.0.self_attn.{name}"
        layout |= {
            f"{at}.qweight": ((32, 256), "I32"),
            f"{at}.qzeros": ((2, 32), "I32"),
            f"{at}.scales": ((2, 256), "F16"),
            f"{at}.g_idx": ((256,), "I32"),
        }
    return layout


def test_a_packed_checkpoint_is_what_its_tensors_take(tmp_path: Path):
    folder = write_folder(tmp_path / "gptq", gptq_layout())
    found = weights(folder)
    assert found.bytes == ex.explore(folder).nbytes
    assert found.values == 100 * 256 * 2 + 2 * 256 * 256 // 2
    assert found.scales == 2 * (2 * 32 * 4 + 2 * 256 * 2 + 256 * 4)
    assert (
        sum(total.elements for total in found.by_type.values()) == 100 * 256 + 2 * 256 * 256
    )


def test_a_packed_checkpoint_in_another_scheme_is_planned_from_its_logical_shapes(
    tmp_path: Path,
):
    folder = write_folder(tmp_path / "gptq", gptq_layout())
    found = weights(folder, quantize="nf4")
    assert found.by_type["nf4"].bytes == 2 * 256 * 256 * 9 // 16
    assert "from the logical shapes of weights that are packed already" in found.note
    assert "from the logical shapes" in weights(folder, dtype="float32").note


def test_a_packed_checkpoint_agrees_with_the_scheme(tmp_path: Path):
    """The same layers planned from their logical shapes take what the file stores."""
    stored = weights(write_folder(tmp_path / "gptq", gptq_layout()))
    planned = weights(tmp_path / "gptq", quantize="gptq:act")
    assert (planned.values, planned.scales) == (stored.values, stored.scales)


def test_buffers_are_counted_separately(tmp_path: Path):
    layout: Layout = {
        "bert.embeddings.position_ids": ((1, 512), "I64"),
        "bert.pooler.dense.weight": ((8, 8), "F32"),
    }
    found = weights(write_folder(tmp_path / "m", layout))
    assert (found.bytes, found.buffers) == (256, 4096)


def test_fractions_of_a_byte_are_rounded_up():
    assert weights({"kernel": np.ones((3, 1), "float32")}, dtype="int4").bytes == 2


@pytest.mark.parametrize("entry", MIXTURES, ids=lambda entry: entry.id)
def test_one_token_reads_its_experts(entry):
    """Those that are counted as active without the table of tokens, and one row of that."""
    active = entry.active["without_input_embedding"]
    sized = subject(entry.id)
    assert sized.architecture is not None
    if active is None:
        active = entry.active["with_embedding_and_head"]
    else:
        active += sized.architecture.size
    assert weights(entry.id, dtype="bfloat16").active_bytes == 2 * active


def test_one_token_reads_all_of_a_dense_model_but_its_table():
    found = weights("llama-2-7b", dtype="float16")
    assert found.active_bytes == 2 * (6_738_415_616 - 31_999 * 4096)


def test_one_token_reads_a_tied_table_as_the_head():
    assert (
        weights("gemma-3-1b", dtype="bfloat16").active_bytes == weights("gemma-3-1b").bytes
    )


def test_which_experts_are_read_is_not_known_without_an_architecture():
    tree = {"experts": {"up": {"kernel": np.ones((4, 8, 8))}}}
    assert weights(tree).active_bytes is None


def test_a_device_holds_its_part():
    whole = weights("llama-2-7b", dtype="bfloat16")
    assert whole.terms()[0].per_device is None
    part = weights("llama-2-7b", {"fsdp": 8}, quantize="nf4")
    assert part.device_values is not None
    assert part.bytes // 8 <= part.terms()[0].on_device + part.terms()[1].on_device
    assert part.device_values < part.values


def test_a_plan_has_totals_by_type():
    plan = ex.plan("llama-3.1-8b", quantize="Q4_K_M")
    assert list(plan.by_type) == ["q4_k", "q6_k", "float32", "buffers (float32)"]
    assert sum(total.tensors for total in plan.by_type.values()) == 292
    sizes = {term.name: term.bytes for term in plan.terms}
    assert sum(t.bytes for t in plan.by_type.values()) == sum(
        sizes[name] for name in ("parameters", "quantization")
    )
