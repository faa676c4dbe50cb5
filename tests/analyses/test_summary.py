"""Totals by group add up to those of the inventory, by whatever they are grouped."""

from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from tests.analyses.test_ledger import MODELS, folder_of


@pytest.mark.parametrize("by", ["role", "component", "module", "dtype", "collection"])
def test_every_grouping_adds_up_to_the_same_total(tmp_path: Path, by: str):
    inventory = ex.explore(folder_of(tmp_path, MODELS["openai/gpt-oss-20b"], ondisk=True))
    summary = ex.summarize(inventory, by=by, depth=3)
    assert sum(group.parameters for group in summary.groups) == inventory.num_parameters
    assert sum(group.weights for group in summary.groups) == inventory.num_weights
    assert sum(group.tensors for group in summary.groups) == inventory.num_tensors
    assert sum(group.nbytes for group in summary.groups) == inventory.nbytes
    assert summary.total.parameters == inventory.num_parameters


def test_groups_are_the_largest_first_and_modules_as_in_the_source():
    tree = {
        "b": {"kernel": np.zeros((2, 1))},
        "a": {"bias": np.zeros(3), "kernel": np.zeros((5, 1))},
    }
    roles = ex.summarize(tree, by="role")
    assert [(g.name, g.tensors, g.parameters) for g in roles.groups] == [
        ("kernel", 2, 7), ("bias", 1, 3),
    ]  # fmt: skip
    modules = ex.summarize(tree, by="module")
    assert {g.name: (g.weights, g.biases) for g in modules.groups} == {
        "a": (5, 3),
        "b": (2, 0),
    }
    joint = ex.summarize(tree, by=["module", "role"])
    assert {g.name: g.parameters for g in joint.groups} == {
        "a kernel": 5, "a bias": 3, "b kernel": 2,
    }  # fmt: skip
    for summary in (roles, modules, joint):
        assert (summary.total.name, summary.total.parameters) == ("total", 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"by": "colour"},
            "by: 'colour'; expected role or component or module or dtype or ",
        ),
        ({"by": ()}, "by: (); expected role"),
        ({"by": "module", "depth": 0}, "depth: 0; expected 1 or more"),
    ],
)
def test_what_does_not_group_is_refused(arguments: dict, message: str):
    with pytest.raises(ex.InputError) as caught:
        ex.summarize({"kernel": 1.0}, **arguments)
    assert str(caught.value).startswith(message)
