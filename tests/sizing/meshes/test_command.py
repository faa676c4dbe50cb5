"""Meshes and compiled programs on the command line."""

import json

import pytest

from tests.cli.in_process import printed, run


def test_a_table_over_meshes():
    lines = printed("plan", "mixtral-8x7b", "--meshes", "4").splitlines()
    table = [line.split() for line in lines if "=" in line]
    assert [row[0] for row in table] == [
        "tensor=4",
        "tensor=2,expert=2",
        "expert=4",
        "data=2,tensor=2",
        "data=2,expert=2",
        "data=4",
    ]
    grid = printed("plan", "gpt2", "--meshes", "2", "--sweep", "batch=1,8", "--train")
    assert {"fsdp=2", "tensor=2", "data=2"} <= set(grid.split())


@pytest.mark.slow
def test_a_compiled_plan_in_json():
    words = ("plan", "gpt2", "--context", "32", "--compile", "--format", "json")
    plan = json.loads(printed(*words, "--mesh", "tensor=2"))
    compiled = plan["compiled"]
    assert compiled["platform"] == "cpu"
    assert compiled["devices"] == 2
    terms = {term["name"]: term for term in plan["terms"]}
    assert compiled["parameters"] == terms["parameters"]["per_device"]
    assert terms["workspace"]["provenance"] == "exact (XLA, cpu)"
    # all heads' results but those that take an argument's place
    assert terms["logits"]["per_device"] == compiled["outputs"] - compiled["aliased"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--meshes", "0"), "meshes: is 0; expected 1 to 4,096 devices"),
        (("--meshes", "8", "--mesh", "fsdp=8"), "--meshes: a mesh as well"),
        (("--meshes", "8", "--sweep", "mesh=8"), "--meshes: a mesh as well"),
        (("--device", "h100:8", "--mesh", "data=4"), "mesh: data=4 is 4 devices; expected"),
        (("--mesh", "tensors=4"), "did you mean tensor?"),
        (("--topology", "4x4"), "topology: nothing is compiled; add --compile"),
        (("--compile", "--quantize", "Q4_K_M"), "--compile: quantize is Q4_K_M; expected"),
    ],
)
def test_slips_are_one_line(words: tuple[str, ...], message: str):
    done = run("plan", "gpt2", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
