"""Bisection, and advice that is checked by planning with it."""

import math
import re
import shlex
from typing import Any

import pytest

import explorer as ex
from explorer.sizing.devices.catalog import find_device
from explorer.sizing.devices.fitting import fit_of, longest_context
from explorer.sizing.workloads import lora_of
from tests.cli.in_process import run
from tests.sizing.subjects import CONFIGS


@pytest.mark.parametrize("memory", [0, 102, 103, 999, 10_000])
@pytest.mark.parametrize("step", [1, 16, 256])
def test_the_longest_context_is_that_of_a_walk(memory: int, step: int):
    def needed(context: int) -> int:
        return 100 + 3 * (-(-context // step) * step)

    walk = [context for context in range(1, 5000) if needed(context) <= memory]
    assert longest_context(needed, memory, 4999) == (walk[-1] if walk else None)


def test_fits_at_exactly_the_memory():
    device = find_device("rtx-4090")
    assert fit_of(device, 1, 24 * 10**9, None, 1).fits
    assert not fit_of(device, 1, 24 * 10**9 + 1, None, 1).fits


def test_a_longer_context_needs_no_less_and_the_longest_one_fits():
    plan = ex.plan("llama-3.1-8b", device="rtx-4090")
    longest = plan.longest_context
    assert longest is not None
    assert plan.fits
    memory = find_device("rtx-4090").memory

    def needed(context: int) -> int:
        return ex.plan("llama-3.1-8b", device="rtx-4090", context=context).per_device_bytes

    assert needed(longest) <= memory < needed(longest + 1)
    assert needed(100) <= needed(1000) <= needed(10_000)


CASES = [
    ("llama-3.1-8b", {"device": "laptop-16gb"}),
    ("llama-3.1-8b", {"device": "laptop-16gb", "engine": "llama.cpp"}),
    ("llama-2-70b", {"device": "rtx-4090", "engine": "llama.cpp"}),
    ("llama-2-70b", {"device": "h100"}),
    ("deepseek-v3", {"device": "h100:8", "engine": "vllm"}),
    ("llama-3.1-8b", {"device": "tpu-v5e", "train": True}),
    ("llama-3.1-8b", {"device": "rtx-4090", "train": True}),
    ("mistral-7b", {"device": "t4", "context": 32_768}),
]


@pytest.mark.parametrize(("target", "settings"), CASES, ids=str)
def test_every_option_that_is_advised_makes_it_fit(target: str, settings: dict[str, Any]):
    plan = ex.plan(target, **settings)
    assert plan.fits is False
    assert plan.advice
    for advice in plan.advice:
        words = re.split(r" needs | is the longest", advice)[0]
        again = ex.plan(target, **{**settings, **_settings(words)})
        assert again.fits, advice
        if " needs " in advice:
            said = advice.split(" needs ")[1].split(" GB")[0]
            assert f"{again.per_device_bytes / 10**9:.1f}" == said


def _settings(words: str) -> dict[str, Any]:
    """Return the settings that options of the command line are."""
    parts = shlex.split(words)
    found: dict[str, Any] = {}
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        key = name.removeprefix("--").replace("-", "_")
        found[key] = int(value) if value.isdecimal() else value
        if key == "lora":
            found[key] = lora_of(value)
    return found


def test_a_plan_that_fits_has_no_advice():
    assert ex.plan("gpt2", device="h100").advice == ()
    assert ex.plan("llama-2-70b").advice == ()


def test_common_devices_agree_with_a_plan_for_each():
    for config in (CONFIGS["llama"], "llama-3.1-8b"):
        for fit in ex.plan(config).devices:
            alone = ex.plan(config, device=fit.name)
            assert (alone.fits, alone.longest_context) == (fit.fits, fit.longest_context)


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        ("llama-2-70b", {"mesh": {"tensor": 4}}),
        ("mixtral-8x7b", {"mesh": {"data": 2, "expert": 4}, "batch": 3}),
        ("llama-2-7b", {"mesh": {"fsdp": 8}, "train": True}),
        ("gpt2", {"device": "t4:2"}),
        ("gpt2", {"mesh": {"tensor": 1}}),
    ],
    ids=str,
)
def test_common_devices_are_as_many_as_the_mesh_has(target: str, settings: dict[str, Any]):
    plan = ex.plan(target, **settings)
    count = math.prod(plan.mesh.values())
    assert plan.devices
    for fit in plan.devices:
        alone = ex.plan(target, **{**settings, "device": f"{fit.name}:{count}"})
        assert fit.count == count
        assert fit.fits == (plan.per_device_bytes <= fit.memory) == alone.fits
        assert fit.longest_context == alone.longest_context
    listed = {find_device(fit.name).vendor for fit in plan.devices}
    assert listed == {"Google", "NVIDIA", "AMD"} | (
        {"Apple", "any"} if count == 1 else set()
    )


def test_what_is_printed_of_a_mesh_is_about_each_of_its_devices():
    found = run("plan", "llama-2-70b", "--mesh", "tensor=4", COLUMNS="200").stdout
    assert "35.9 GB of each of 4 devices: 4 x a100 (80 GB each) suffice\n" in found
    assert "\n4 suffice ✓  a100 4k, h100 4k, " in found
    assert "laptop" not in found
    words = ("plan", "llama-2-70b", "--train", "--mesh", "fsdp=8")
    found = run(*words, COLUMNS="200").stdout
    assert (
        "for training on 8 sequences of 4,096 tokens at float32, 303.4 GB of each" in found
    )
    assert "devices: more than any one of the common devices has\n" in found
    assert " suffice ✓" not in found


def test_on_a_mesh_every_part_of_data_has_a_sequence():
    plan = ex.plan("gpt2", mesh={"data": 4}, batch=5)
    eight = ex.plan("gpt2", batch=8)
    cache = {term.name: term for term in plan.terms}["kv_cache"]
    assert cache.bytes == {term.name: term.bytes for term in eight.terms}["kv_cache"]
    assert cache.per_device == cache.bytes // 4


def test_servers_take_a_share_of_a_device():
    plan = ex.plan("llama-3.1-8b", engine="vllm", device="h100")
    assert {fit.name: fit.memory for fit in plan.devices}["h100"] == 72 * 10**9
    assert "vllm takes 90% of a device unless it is set otherwise" in plan.notes
