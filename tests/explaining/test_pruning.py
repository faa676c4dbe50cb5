"""What the topic says of pruning is what the command that it names prints, in one precision."""

import re
import shlex

import numpy as np
import pytest

import explorer as ex
from explorer.architectures.catalog.entries import entries
from tests.cli.in_process import run

NAMES = sorted({entry.names[0] for entry in entries()})


@pytest.mark.parametrize("name", ["gpt2", "gpt-oss-20b", "deepseek-v3", "vit-base"])
def test_zeros_are_those_of_the_command(name):
    (topic,) = ex.explain(name, "pruning").topics
    program, *arguments = shlex.split(topic.command)
    assert program == "explorer"
    said = re.search(
        r"([\d,]+) of ([\d,]+) entries of", " ".join(run(*arguments).stdout.split())
    )
    assert said
    zeros, kernels = said.groups()
    assert f"In half of the {kernels} weights" in topic.brief
    assert f"that would be {zeros} zeros" in topic.brief


@pytest.mark.parametrize("name", NAMES)
def test_fewer_bytes_are_left_and_no_more_than_the_zeros_save(name):
    (topic,) = ex.explain(name, "pruning").topics
    facts = {fact.name: fact.value for fact in topic.facts}
    whole, left = facts["all parameters at 16 bits"], facts["the same with 2 of 4 kept"]
    parameters = ex.ledger(name).parameters
    assert 2 * parameters <= whole <= 2.01 * parameters  # with buffers, such as frequencies
    assert whole - 2 * facts["zeros"] < left < whole


def test_a_table_has_no_kernels_to_prune():
    (topic,) = ex.explain(
        {"embedding": {"embedding": np.ones((8, 4), "float32")}}, "pruning"
    ).topics
    assert topic.brief.endswith("cannot be planned: has no kernel of a linear layer.")
    assert topic.facts == ()
    assert "llama-3.1-8b" in topic.command
