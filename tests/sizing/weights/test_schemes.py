"""Schemes for linear layers, against the arithmetic of their formats and published sizes."""

from typing import Any

import pytest

from explorer.errors import InputError
from explorer.sizing.weights.groups import Matrix
from explorer.sizing.weights.parsing import parse_scheme
from explorer.sizing.weights.schemes import NAMES, linear_scheme
from tests.sizing.weights.subjects import facts, weights

FACTS = facts("schemes")


def bits(text: str, matrix: Matrix) -> float:
    wanted = parse_scheme(text)
    sizes = linear_scheme(wanted.name, wanted.options).sizes(matrix)
    assert sizes is not None
    return 8 * sum(sizes) / matrix.size


@pytest.mark.parametrize("row", FACTS["bits"]["rows"], ids=lambda row: row["scheme"])
def test_bits_of_a_matrix(row: dict):
    found = bits(row["scheme"], Matrix(1, *row["shape"]))
    assert f"{found:.{len(row['bits'].partition('.')[2])}f}" == row["bits"]


@pytest.mark.parametrize("row", FACTS["torchao"]["rows"], ids=lambda row: row["scheme"])
def test_torchao(row: dict):
    """Its sizes leave the input embedding out."""
    found = weights(row["model"], quantize=row["scheme"], dtype="bfloat16")
    assert f"{(found.bytes - 2 * row['embedding']) / 1e9:.2f}" == row["gigabytes"]


def test_what_is_left():
    found = weights("llama-2-7b", quantize="nf4")
    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    assert found.by_type["nf4"].elements == linear
    assert found.by_type["float16"].elements == 6_738_415_616 - linear
    assert found.scales == linear // 64 * 4
    assert "embedding, head, norms, routers and biases stay" in found.note


def test_experts_are_quantised_and_their_router_is_not():
    found = weights("mixtral-8x7b", quantize="int4:g128")
    router = 32 * 8 * 4096
    attention = 32 * 4096 * (2 * 4096 + 2 * 1024)
    assert found.by_type["int4"].elements == attention + 32 * 8 * 3 * 4096 * 14336
    assert found.by_type["bfloat16"].elements == router + (2 * 32000 + 65) * 4096


def test_what_is_left_takes_the_dtype_that_is_asked_for():
    assert set(weights("llama-2-7b", quantize="fp8", dtype="float32").by_type) == {
        "fp8",
        "float32",
    }


def test_groups_of_the_last_inputs_may_be_smaller():
    assert linear_scheme("int4").sizes(Matrix(1, 130, 8)) == (130 * 8 // 2, 2 * 2 * 8)
    assert linear_scheme("int4wo").sizes(Matrix(1, 130, 8)) is None


@pytest.mark.parametrize(
    ("text", "shape", "found"),
    [
        ("awq", (192, 64), "awq stores inputs in groups of 128, and a layer has 192"),
        ("gptq", (128, 48), "gptq stores outputs in groups of 32, and a layer has 48"),
        ("mxfp4", (48, 64), "mxfp4 stores inputs in groups of 32, and a layer has 48"),
        ("nvfp4", (40, 64), "nvfp4 stores inputs in groups of 16, and a layer has 40"),
    ],
)
def test_groups_that_a_format_refuses(text: str, shape: tuple[int, int], found: str):
    with pytest.raises(InputError, match=found):
        bits(text, Matrix(1, *shape))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nf5", "no scheme called 'nf5'"),
        ("Q4_K_X", "did you mean Q4_K_S or"),
        ("int4:h128", "no option 'h128'"),
        ("mxfp4:g64", "mxfp4 has no option for group; expected mxfp4"),
        ("nf4:g100", "nf4 has blocks of 32, 64, 128 ... 4096, not of 100"),
        ("int8:block", "int8 has no option for scales"),
        ("int8:tensor:search", "int8 has no option for scales"),
        ("", "no scheme called ''"),
        (4, "a scheme's name, such as Q4_K_M or nf4"),
        ("Q4_K_M:g64", "no option 'g64' of Q4_K_M"),
    ],
)
def test_slips(text: Any, message: str):
    with pytest.raises(InputError) as error:
        weights("gpt2", quantize=text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [*NAMES, "Q4_K_M", "IQ2_XS", "MXFP4_MOE"])
def test_sums(name: str):
    for model in (
        "gpt2",
        "llama-2-7b",
        "mixtral-8x7b",
        "qwen3-30b-a3b",
        "bert-base-uncased",
    ):
        found = weights(model, quantize=name)
        assert found.bytes == sum(total.bytes for total in found.by_type.values())
        assert found.values + found.scales == found.bytes
        assert found.active_bytes is not None
        assert 0 < found.active_bytes <= found.bytes
