"""Settings that are refused in one line, and none that is silently another."""

from typing import Any

import pytest

import explorer as ex
from explorer.errors import InputError, TreeError
from explorer.sizing.devices.choice import choose
from explorer.sizing.workloads import axis_of, lora_of, mesh_of
from explorer.views.plan_headline import headline

LONG = "9" * 5000  # Python refuses to read more than 4,300 digits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mesh": {"fsdp": 0}}, "mesh: fsdp=0; expected axes"),
        ({"mesh": {"fsdp": -2}}, "mesh: fsdp=-2; expected axes"),
        ({"mesh": {"fsdp": "2"}}, "mesh: fsdp: is str; expected a whole number"),
        ({"mesh": "fsdp=8"}, "mesh: is str; expected a mapping"),
        ({"prune": 0.5}, "prune: is float; expected a text"),
        ({"train": "no"}, "train: is str; expected true or false"),
        ({"compile": "no"}, "compile: is str; expected true or false"),
        ({"untie": "no"}, "untie: is str; expected true or false"),
        ({"engine": "llama.cpp", "parallel": 257}, "parallel: is 257; expected up to 256"),
        ({"train": True, "dtype": "int8"}, "dtype: int8 in training"),
        ({"train": True, "master": "int8"}, "master: int8 in training"),
        ({"train": True, "compute_dtype": "int8"}, "compute_dtype: int8 in training"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises((InputError, TreeError)) as slip:
        ex.plan("gpt2", **settings)
    assert message in str(slip.value)
    assert "\n" not in str(slip.value)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (axis_of, "price=abc"),
        (axis_of, "train=maybe"),
        (mesh_of, f"fsdp={LONG}"),
        (mesh_of, "fsdp=2,fsdp=4"),
        (lora_of, f"rank={LONG}"),
        (lora_of, "rank=8,rank=9"),
        (lora_of, "rank=8,dora=1,0"),
        (choose, f"h100:{LONG}"),
    ],
)
def test_texts_that_are_refused(read: Any, text: str):
    with pytest.raises(InputError) as slip:
        read(text)
    assert len(str(slip.value)) < 200


def test_too_many_digits_are_not_a_number():
    name, values = axis_of(f"context={LONG}")
    with pytest.raises(TreeError, match="context: is str; expected a whole number"):
        ex.sweep("gpt2", {name: values})


def test_every_slot_has_cells():
    plan = ex.plan("gpt2", engine="llama.cpp", parallel=256, context=1024)
    (cache,) = (term for term in plan.terms if term.name == "kv_cache")
    assert cache.bytes == 256 * 256 * 12 * 2 * 768 * 2  # 256 slots of 256 cells, at 2 bytes


def test_slots_share_the_context():
    plan = ex.plan("gpt2", engine="llama.cpp", parallel=4, context=1024)
    assert "4 sequences that share 1,024 tokens" in headline(plan)


def test_slots_that_share_a_context_are_as_fast_as_sequences_of_their_own():
    settings: dict[str, Any] = {"engine": "llama.cpp", "device": "rtx-4090"}
    shared = ex.plan("llama-3.2-1b", context=8192, parallel=4, **settings)
    own = ex.plan("llama-3.2-1b", context=2048, batch=4, **settings)
    assert shared.prefill_seconds == own.prefill_seconds
    assert shared.decode_tokens_per_second == own.decode_tokens_per_second


def test_slots_of_another_engine_are_said_to_change_nothing():
    one, four = (ex.plan("gpt2", engine="vllm", parallel=n) for n in (1, 4))
    assert four.total_bytes == one.total_bytes
    assert "parallel changes nothing: vllm has no slots that share a context" in four.notes


@pytest.mark.parametrize("number", [10**9, 10**30])
def test_a_huge_range_is_refused_before_it_is_read(number: int):
    with pytest.raises(InputError, match="more than 10,000 values"):
        ex.sweep("gpt2", {"context": range(number)})
