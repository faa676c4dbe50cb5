"""Of every catalogued model: one meaning of "tensor" in all that its topic says."""

import re
from math import prod

import pytest

import explorer as ex
from explorer.architectures.catalog.entries import entries

NAMES = sorted({entry.names[0] for entry in entries()})
_NUMBER = re.compile(r"([\d,]+) (?:is a|are) ")


def said(name: str) -> tuple[list[str], dict[str, int]]:
    (topic,) = ex.explain(name, "tensor").topics
    return list(topic.details), {fact.name: int(fact.value or 0) for fact in topic.facts}


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize("name", NAMES)
def test_kinds_of_tensors_add_up_and_the_largest_is_at_least_the_average(name):
    details, facts = said(name)
    ranks = next(text for text in details if text.startswith("Of its tensors, "))
    assert sum(map(number, _NUMBER.findall(ranks))) == facts["tensors of parameters"]
    largest = next(text for text in details if text.startswith("Its largest tensor"))
    (product,) = re.findall(r"= ([\d,]+) numbers", largest)
    assert number(product) >= facts["parameters in each, on average"]
    sizes = [prod(spec.shape) for spec in ex.explore(name) if spec.kind.is_parameter]
    assert number(product) == max(sizes)
    assert len(sizes) == facts["tensors of parameters"]
    assert sum(sizes) == facts["parameters"]


@pytest.mark.parametrize("name", NAMES)
def test_tensors_of_a_checkpoint_are_those_that_show_prints(name):
    ledger, (details, facts) = ex.ledger(name), said(name)
    kept = [text for text in details if text.startswith("A checkpoint under")]
    found = [number(each) for text in kept for each in re.findall(r"[\d,]*\d", text)]
    here = facts["tensors of parameters"] + facts["other tensors"]
    assert here == ledger.tensors
    differs = ledger.checkpoint_tensors != ledger.tensors
    assert found == ([ledger.checkpoint_tensors, ledger.tensors] if differs else [])
