"""On a mesh every figure of a plan has one meaning: what the fullest device needs, times devices."""

import json
import re
from math import prod

import pytest

import explorer as ex
from explorer.views import units
from tests.cli.in_process import run

MESHES = (
    {"data": 64},
    {"tensor": 3},
    {"tensor": 4},
    {"data": 2, "tensor": 2},
)
TRAINED = ({"fsdp": 8}, {"data": 2, "tensor": 2}, {"sequence": 4})


def plans() -> list[tuple[str, dict[str, int], bool]]:
    names = ("gpt2", "llama-3.1-8b", "deepseek-v3")
    served = [(name, mesh, False) for name in names for mesh in MESHES]
    return served + [(name, mesh, True) for name in names for mesh in TRAINED]


@pytest.mark.parametrize(("name", "mesh", "train"), plans())
def test_every_term_and_the_total_are_the_devices_times_one_of_them(name, mesh, train):
    plan, number = ex.plan(name, mesh=mesh, train=train), prod(mesh.values())
    for term in plan.terms:
        assert term.bytes == number * term.on_device
        assert term.low <= term.bytes <= term.high
    assert plan.total_bytes == number * plan.per_device_bytes
    assert plan.total_bytes == sum(term.bytes for term in plan.terms)
    assert plan.low_bytes <= plan.total_bytes <= plan.high_bytes


@pytest.mark.parametrize(("name", "mesh", "train"), plans())
def test_less_than_the_whole_model_is_never_enough_for_all_devices(name, mesh, train):
    """What is divided adds up to the whole, and what is not is there several times."""
    plan = ex.plan(name, mesh=mesh, train=train)
    parameters = next(term for term in plan.terms if term.name == "parameters")
    alone = next(
        term for term in ex.plan(name, train=train).terms if term.name == "parameters"
    )
    assert parameters.bytes >= alone.bytes
    copies = mesh.get("data", 1) * mesh.get("sequence", 1)
    assert parameters.on_device * prod(mesh.values()) >= copies * alone.bytes


def test_the_plan_says_how_many_sequences_it_is_of():
    plan = ex.plan("llama-3.1-8b", mesh={"data": 2}, batch=3)
    assert plan.workload.batch == 4
    four = ex.plan("llama-3.1-8b", mesh={"data": 2}, batch=4)
    assert (plan.terms, plan.total_bytes) == (four.terms, four.total_bytes)
    assert any("raised from 3 to 4" in note for note in plan.notes)
    assert " for 4 sequences " in str(plan)


def test_text_and_json_of_a_mesh_print_the_same_figures():
    arguments = ("plan", "llama-3.1-8b", "--mesh", "tensor=4")
    plan = json.loads(run(*arguments, "--json").stdout)
    for term in plan["terms"]:
        assert term["bytes"] == 4 * term["per_device"]
    rows = run(*arguments).stdout
    for term in plan["terms"]:
        name = term["name"].replace("_", " ")
        row = re.search(rf"^{name} +(\S+ \S+) +(\S+ \S+)", rows, re.MULTILINE)
        assert row
        assert row.groups() == (units.size(term["bytes"]), units.size(term["per_device"]))
