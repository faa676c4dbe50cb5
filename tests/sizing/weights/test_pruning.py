"""What pruned kernels take: the arithmetic of each way to store them."""

from fractions import Fraction

import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.sizing.weights.groups import Matrix
from explorer.sizing.weights.pruning import parse_pruning, pruned_scheme
from explorer.sizing.weights.schemes import Options, linear_scheme


def bits(prune: str, base: object) -> Fraction:
    matrix = Matrix(1, 4096, 4096)
    sizes = pruned_scheme(parse_pruning(prune), base).sizes(matrix)
    assert sizes is not None
    return Fraction(8 * (sizes.values + sizes.scales), matrix.size)


def test_2_of_4_takes_9_bits_of_16_and_5_of_8():
    # kept values and a 2-bit index for each: 16 / 2 + 2 / 2, 8 / 2 + 1
    assert bits("2:4", "bfloat16") == 9
    assert bits("2:4", "int8") == 5


def test_csr_pays_below_a_third_in_bfloat16():
    # b / (b + i) with columns of 32 bits, row starts aside
    rows = Fraction(32, 4096) + Fraction(32, 4096**2)
    for pruned in ("0.6", "0.7"):
        kept = 1 - Fraction(pruned)
        found = bits(f"{pruned}:csr", "bfloat16")
        assert abs(found - (kept * 48 + rows)) < Fraction(1, 1000)
        assert (found - rows < 16) == (kept < Fraction(1, 3))


def test_a_bitmask_takes_one_bit_more_than_what_is_kept():
    assert bits("0.5:bitmask", "bfloat16") == 9
    assert bits("0.75:bitmask", "float32") == 9


def test_zeros_in_a_dense_array_save_nothing():
    dense, bare = ex.plan("llama-3.1-8b", prune="0.5"), ex.plan("llama-3.1-8b")
    assert dense.total_bytes == bare.total_bytes == dense.before.total_bytes
    assert "zeros take the bytes that values take" in dense.terms[0].note


def test_a_whole_model_at_2_of_4():
    # Llama-3.1-8B: 6.98 B elements in kernels of layers at 9 bits, the rest at 16
    kernels = 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    rest = 8_030_261_248 - kernels
    found = ex.plan("llama-3.1-8b", prune="2:4")
    terms = {term.name: term.bytes for term in found.terms}
    assert terms["parameters"] == kernels + 2 * rest
    assert terms["quantization"] == kernels // 8
    assert found.before.terms["parameters"] == 2 * 8_030_261_248


def test_it_composes_with_a_scheme_for_linear_layers():
    scheme = linear_scheme("int8", Options())
    assert bits("2:4", scheme) == 5 + Fraction(32, 4096)
    found = ex.plan("llama-3.1-8b", quantize="int8", prune="2:4")
    assert found.terms[1].note == "scales, and indices of the elements that are kept"


@pytest.mark.parametrize(
    "text", ["", "0", "1", "1.5", "half", "4:2", "2:4:csc", "2:0", "0.5:n:m"]
)
def test_wrong_patterns_are_one_line(text: str):
    with pytest.raises(
        InputError, match=r"^prune: .*; expected a share between 0 and 1 or n:m"
    ):
        ex.plan("gpt2", prune=text)


def test_gguf_has_no_sparse_tensors():
    with pytest.raises(InputError, match="GGUF has no sparse tensors"):
        ex.plan("llama-3.1-8b", quantize="Q4_K_M", prune="2:4")
