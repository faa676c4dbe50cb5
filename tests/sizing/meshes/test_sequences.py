"""An axis that divides sequences divides what is computed of them, in training alone."""

import re

import pytest

import explorer as ex
from explorer.errors import InputError


def on_device(plan: ex.MemoryPlan, name: str) -> int:
    return next(term.on_device for term in plan.terms if term.name == name)


@pytest.mark.parametrize("name", ["gpt2", "llama-3.1-8b", "deepseek-v3"])
@pytest.mark.parametrize("parts", [2, 4])
def test_as_many_tokens_on_a_device_as_of_an_axis_of_examples(name: str, parts: int):
    """What is kept of a token is the same on both; keys and values of a layer come on top."""
    settings = {"train": True, "batch": 4, "context": 512, "dtype": "bfloat16"}
    by_examples = ex.plan(name, mesh={"data": parts}, **settings)
    by_sequence = ex.plan(name, mesh={"sequence": parts}, **settings)
    for term in ("parameters", "gradients", "optimizer", "logits"):
        assert on_device(by_sequence, term) == on_device(by_examples, term)
    more = on_device(by_sequence, "activations") - on_device(by_examples, "activations")
    width = {
        "gpt2": 2 * 12 * 64,
        "llama-3.1-8b": 2 * 8 * 128,
        "deepseek-v3": 128 * (128 + 64 + 128),
    }[name]
    assert more == 4 * 512 * width * 2
    assert by_sequence.total_bytes - by_examples.total_bytes == parts * more


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        ("gpt2", {}, "mesh: sequence=4 divides nothing of inference; expected the axes"),
        ("gpt2", {"train": True, "context": 510}, "mesh: sequence=4 does not divide 510 tokens"),
        ("vit-base", {"train": True}, "mesh: sequence=4, and vit-base takes images; expected"),
    ],
)  # fmt: skip
def test_what_it_does_not_divide_is_one_line(name: str, settings: dict, line: str):
    with pytest.raises(InputError, match=f"^{re.escape(line)}"):
        ex.plan(name, mesh={"sequence": 4}, **settings)


def test_it_goes_with_other_axes():
    plan = ex.plan(
        "llama-3.1-8b", train=True, context=4096, mesh={"fsdp": 8, "sequence": 4}
    )
    alone = ex.plan("llama-3.1-8b", train=True, context=4096, mesh={"fsdp": 8})
    assert on_device(plan, "parameters") == on_device(alone, "parameters")
    assert on_device(plan, "logits") * 4 == on_device(alone, "logits")
