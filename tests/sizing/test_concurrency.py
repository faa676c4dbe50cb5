"""How many sequences fit a device at once: as many as a plan of so many says, and not one more."""

import pytest

import explorer as ex
from explorer.sizing.records import MemoryPlan


def cache_of(plan: MemoryPlan) -> int:
    return sum(t.on_device for t in plan.terms if t.name in ("kv_cache", "recurrent_state"))


@pytest.mark.parametrize("device", ["rtx-4090", "h100:2", "m4-max"])
@pytest.mark.parametrize("engine", ["jax", "llama.cpp", "sglang"])
@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-2-9b", "qwen2.5-7b"])
def test_as_many_as_fit_and_not_one_more(name: str, engine: str, device: str):
    settings = {"context": 2048, "engine": engine, "device": device, "dtype": "float16"}
    plan = ex.plan(name, **settings)
    found = plan.concurrency
    assert found is not None
    others = plan.per_device_bytes - cache_of(plan)
    kind = ex.plan(name, **settings).devices
    memory = next(d.memory for d in kind if d.name == device.partition(":")[0])
    if found.whole:
        assert others + cache_of(ex.plan(name, batch=found.whole, **settings)) <= memory
    assert others + cache_of(ex.plan(name, batch=found.whole + 1, **settings)) > memory


def test_where_nothing_is_kept_it_is_not_given():
    assert ex.plan("bert-base-uncased", device="h100").concurrency is None
    assert ex.plan("gpt2", train=True, device="h100").concurrency is None
    assert ex.plan("gpt2").concurrency is None
