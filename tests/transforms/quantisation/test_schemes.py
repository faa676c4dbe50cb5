"""Every scheme: stored bytes, published errors, and the laws of encoding and decoding."""

import re

import chex
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import explorer as ex
from explorer.errors import InputError
from explorer.sizing.weights.groups import Matrix
from explorer.sizing.weights.parsing import parse_scheme
from explorer.sizing.weights.schemes import linear_scheme
from explorer.transforms.quantisation.codecs import codec_of
from explorer.transforms.quantisation.quantized import Quantized

INTEGERS = (
    "int8", "int8:tensor", "int8:asym", "int8:tensor:asym", "int8:channel", "int8:g64",
    "int8:g64:asym", "int8:search", "int4", "int4:g64", "int4:g32:asym", "int4:channel",
    "int4:g64:search", "int4:asym:search", "int8wo",
)  # fmt: skip
SCHEMES = (
    *INTEGERS, "nf4", "nf4:double", "nf4:g128", "fp4", "fp4:double", "fp8", "fp8:channel",
    "fp8:block", "fp8:e5m2", "fp8:channel:e5m2", "mxfp4", "nvfp4", "int4wo", "int4wo:g64",
)  # fmt: skip
SHAPES = [(8, 128), (3, 64), (5, 100), (7, 13), (130, 260), (1, 1), (2, 1030)]


def normal(*shape: int, scale: float = 0.02) -> np.ndarray:
    return np.random.default_rng(0).normal(0, scale, shape).astype(np.float32)


def relative_error(weights: np.ndarray, scheme: str) -> float:
    found = np.asarray(Quantized.of(weights, scheme)).astype(np.float64)
    return float(np.linalg.norm(found - weights) / np.linalg.norm(weights))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_stored_bytes_are_those_of_the_plan(scheme: str, shape: tuple[int, int]):
    """Shapes that a format refuses are refused by both."""
    wanted = parse_scheme(scheme)
    outputs, inputs = shape
    try:
        sizes = linear_scheme(wanted.name, wanted.options).sizes(Matrix(1, inputs, outputs))
    except InputError:
        return
    if sizes is not None:
        assert Quantized.of(normal(*shape), scheme).nbytes == sum(sizes)


@pytest.mark.parametrize(
    ("scheme", "error"),
    [
        ("mxfp4", 0.11403), ("nf4", 0.09196), ("nf4:g128", 0.0956), ("fp4", 0.12198),
        ("int4:g64", 0.10282), ("int4", 0.11080), ("fp8:channel", 0.02645),
    ],
)  # fmt: skip
def test_published_errors(scheme: str, error: float):
    """Measured with ggml's C code, bitsandbytes 0.50.2 and qwix 0.1.8 on the same numbers."""
    assert relative_error(normal(512, 4096), scheme) == pytest.approx(error, rel=0.005)


@pytest.mark.parametrize(
    ("scheme", "inputs", "error"),
    [
        ("int8", 2048, 0.00824), ("int4:channel", 2048, 0.14013),
        ("int8", 4096, 0.008658), ("int4:channel", 4096, 0.147223),
        ("int8:asym", 4096, 0.0082186), ("int8", 1024, 0.007831), ("int4:channel", 1024, 0.133098),
    ],
)  # fmt: skip
def test_published_errors_of_channels(scheme: str, inputs: int, error: float):
    """qwix 0.1.8 on the same numbers; the first two are published for rows of 2,048."""
    weights = normal(512 * 4096 // inputs, inputs)
    assert relative_error(weights, scheme) == pytest.approx(error, rel=0.005)


def test_nvfp4_is_better_than_ggml_s():
    assert relative_error(normal(512, 4096), "nvfp4") < 0.10306


@pytest.mark.parametrize("scheme", ["int4:g64", "int4:asym", "int8:g64"])
def test_search_makes_the_squared_error_smaller(scheme: str):
    weights = np.random.default_rng(1).standard_t(4, (64, 1024)).astype(np.float32)
    plain, searched = (
        relative_error(weights, scheme),
        relative_error(weights, f"{scheme}:search"),
    )
    assert searched < plain


def steps_of(found: Quantized) -> np.ndarray:
    """Return what a step is worth for each weight, by the format's own arithmetic."""
    scales = np.asarray(found.scales).astype(np.float64)
    if found.scheme in ("int8", "int8:tensor"):
        scales = scales / 127  # LLM.int8 stores the largest magnitude
    group = -(-found.shape[1] // scales.shape[1])
    if "g" in found.scheme:
        group = int(found.scheme.split(":g")[1].split(":")[0])
    elif found.scheme.startswith("int4") and "channel" not in found.scheme:
        group = 128
    return np.broadcast_to(scales.repeat(group, 1)[:, : found.shape[1]], found.shape)


numbers = st.one_of(
    st.just(0.0),
    st.just(-0.0),
    st.floats(-(2.0**100), 2.0**100, width=32),
    st.floats(-1, 1, width=32),
    st.floats(-(2.0**-120), 2.0**-120, width=32),
)


@st.composite
def hostile_rows(draw: st.DrawFn) -> np.ndarray:
    """Rows of zeros, of one number, of tiny and of huge numbers, and of all of those."""
    rows = draw(
        st.lists(
            st.one_of(
                numbers.map(lambda x: [x] * 64),
                st.lists(numbers, min_size=64, max_size=64),
                st.floats(1e-42, 1e34).flatmap(
                    lambda s: st.lists(
                        st.floats(-1, 1, width=16), min_size=64, max_size=64
                    ).map(lambda row: [s * x for x in row])
                ),
            ),
            min_size=1,
            max_size=4,
        )
    )
    return np.array(rows, np.float64).astype(np.float32)


@pytest.mark.parametrize(
    "scheme",
    [s for s in INTEGERS if "search" not in s and s != "int8wo" and ":g128" not in s],
)
@given(rows=hostile_rows())
@settings(max_examples=40, deadline=None)
def test_no_weight_is_more_than_half_a_step_off(scheme: str, rows: np.ndarray):
    found = Quantized.of(rows, scheme)
    error = np.abs(np.asarray(found).astype(np.float64) - rows)
    # arithmetic is in float32, and subnormal numbers are zeros
    slack = 1e-5 * np.abs(rows) + 1e-36
    half = 0.5 if "asym" not in scheme else 1.0  # the zero point is rounded too
    assert (error <= half * steps_of(found) * (1 + 1e-5) + slack).all()


@pytest.mark.parametrize("scheme", ["nf4", "fp4", "fp8:channel", "mxfp4", "nvfp4"])
@given(rows=hostile_rows())
@settings(max_examples=40, deadline=None)
def test_every_weight_becomes_a_near_code(scheme: str, rows: np.ndarray):
    """The widest gap between codes, as a part of the largest magnitude of what shares a scale."""
    gaps = {"nf4": 0.152, "fp4": 0.167, "fp8:channel": 0.036, "mxfp4": 0.251, "nvfp4": 0.27}
    found = np.asarray(Quantized.of(rows, scheme)).astype(np.float64)
    size = {"mxfp4": 32, "nvfp4": 16}.get(scheme, 64)
    blocks = np.abs(rows.astype(np.float64)).reshape(-1, size)
    largest = blocks.max(1, keepdims=True).repeat(size, 1).reshape(rows.shape)
    # the scales of NVFP4 count from the largest of the tensor
    slack = 1e-36 + (np.abs(rows).max() * 2.0**-13 if scheme == "nvfp4" else 0)
    assert (np.abs(found - rows) <= gaps[scheme] * largest + slack).all()


IDEMPOTENT = tuple(
    s for s in SCHEMES if s not in ("int4wo", "int4wo:g64") and "search" not in s
)


@pytest.mark.parametrize(
    "scheme", [s for s in IDEMPOTENT if "asym" not in s and "double" not in s]
)
def test_what_was_decoded_is_encoded_the_same(scheme: str):
    once = np.asarray(Quantized.of(normal(64, 256), scheme))
    twice = np.asarray(Quantized.of(once, scheme))
    # a largest magnitude that fell between two steps makes the next scale smaller
    exact = scheme.startswith(("nf4", "fp4", "mxfp4"))
    rounded = scheme.startswith("fp8") or scheme in ("int8", "int8:tensor", "nvfp4")
    most = 0.0 if exact else 1e-6 if rounded else 0.08
    assert np.linalg.norm(twice - once) <= most * np.linalg.norm(once)


class SameBits(chex.TestCase):
    """With and without jit, in NumPy and in XLA."""

    @chex.variants(with_jit=True, without_jit=True)  # pyright: ignore[reportCallIssue]
    def test_encoded_and_decoded(self):
        weights = normal(64, 1024)
        weights[3] = 0
        weights[4, :7] = 1e-40
        for scheme in SCHEMES:
            expected = Quantized.of(weights, scheme)
            encode = self.variant(lambda x, s=scheme: Quantized.of(x, s))
            found = encode(jnp.asarray(weights))
            for name, part in expected.parts.items():
                np.testing.assert_array_equal(
                    np.asarray(found.parts[name]).view(np.uint8),
                    part.view(np.uint8),
                    scheme,
                )
            decode = self.variant(lambda q: q.dequantize())
            np.testing.assert_array_equal(decode(found), expected.dequantize(), scheme)


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if "tensor" not in s])
def test_any_split_of_rows_is_the_same(scheme: str):
    """Where a scale is not one of the whole matrix."""
    if scheme in ("fp8", "fp8:e5m2", "nvfp4", "nf4:double", "fp4:double"):
        pytest.skip("has a scale of the tensor")
    weights = normal(256, 1024)
    whole = Quantized.of(weights, scheme)
    halves = [Quantized.of(part, scheme) for part in (weights[:128], weights[128:])]
    for name, part in whole.parts.items():
        joined = np.concatenate([half.parts[name] for half in halves])
        np.testing.assert_array_equal(part.view(np.uint8), joined.view(np.uint8))


@pytest.mark.parametrize(
    "scheme", ["int8", "nf4:double", "fp8:block", "nvfp4", "int4:asym"]
)
def test_large_matrices_are_encoded_in_pieces_with_the_same_bits(scheme: str):
    """2,304 x 2,048 is more than a piece; the last one is shorter."""
    weights = normal(2304, 2048)
    found, expected = (
        codec_of(scheme).encode(weights),
        jax.jit(codec_of(scheme).encode)(weights),
    )
    for name, part in found.items():
        if name == "offset":
            np.testing.assert_array_max_ulp(part, np.asarray(expected[name]), 2)
        elif "double" not in scheme or name == "values":
            np.testing.assert_array_equal(part, np.asarray(expected[name]), name)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_fp8_is_the_nearest_number_of_the_format(kind: str):
    """Of one scale, so that ml_dtypes' own rounding is the oracle."""
    weights = normal(4, 64)
    most = float(ml_dtypes.finfo(kind).max)
    scale = np.float32(np.abs(weights).max() / np.float32(most))
    found = Quantized.of(weights, "fp8:e5m2" if "e5m2" in kind else "fp8")
    expected = np.clip(weights / scale, -most, most).astype(kind)
    np.testing.assert_array_equal(found.values.view(np.uint8), expected.view(np.uint8))


def test_mxfp4_is_what_ml_dtypes_rounds_to():
    """OCP's rule: the power of two of the largest magnitude, less two."""
    weights = normal(16, 128)
    groups = weights.reshape(16, 4, 32)
    exponents = np.floor(np.log2(np.abs(groups).max(-1))) - 2
    scaled = groups / np.exp2(exponents)[:, :, None]
    codes = np.clip(scaled, -6, 6).astype(ml_dtypes.float4_e2m1fn).astype(np.float32)
    found = Quantized.of(weights, "mxfp4")
    np.testing.assert_array_equal(found.scales, (exponents + 127).astype(np.uint8))
    expected = (codes * np.exp2(exponents)[:, :, None]).reshape(16, 128)
    np.testing.assert_array_equal(found.dequantize(), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("gptq", "gptq is calibrated on activations"),
        ("Q4_K_M", "mixes types by the layers of a GGUF file; expected Q4_K_M:pure"),
        ("nf4:search", "nf4 has no option for search"),
        ("int9", "did you mean int8"),
    ],
)
def test_schemes_that_are_refused(scheme: str, message: str):
    with pytest.raises(InputError) as error:
        codec_of(scheme)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "scheme", ["q4_k:pure", "q8_0:pure", "int8:asym", "int4:asym", "fp8", "int4", "mxfp4"]
)
def test_weights_beyond_the_scales_of_a_scheme_are_refused_or_kept(scheme: str):
    """What is stored of finite weights is finite, or there is no result."""
    weights = np.full((256, 2), 3.3e38, np.float32)
    weights[:5] = -3e38
    try:
        found, _ = ex.quantize({"kernel": weights}, scheme)
    except InputError as error:
        assert re.fullmatch(  # noqa: PT017
            r"kernel: holds (3\.3|-3)e\+38, beyond the scales of \S+; expected smaller weights; "
            "choose a scheme with wider scales, such as mxfp4, or bfloat16",
            str(error),
        )
        assert scheme not in ("fp8", "int4", "mxfp4")
    else:
        assert np.isfinite(np.asarray(found["kernel"])).all()
        assert scheme not in ("q4_k:pure", "q8_0:pure", "int8:asym", "int4:asym")
