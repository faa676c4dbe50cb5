"""Decoding with a cache: what transformers answers with its own, and sizes as plans have them."""

from functools import partial
from zlib import crc32

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import explorer as ex
from explorer.architectures.resolve import resolve
from explorer.errors import InputError
from explorer.models.cache import check_causal, make_cache
from explorer.models.transformer import Transformer
from explorer.pretrained import from_tensors
from tests.conformance import goldens
from tests.conformance.cases import CASES, Case, inputs_of
from tests.conformance.configs import GROK
from tests.conformance.generated import FILE, LENGTHS, NEW, causal_cases, prompts_of
from tests.conformance.weights import weights_of
from tests.models.tiny import IDS, model_of

slow = pytest.mark.slow  # compiles models
_TOLERANCE = 2e-5  # relative to the largest value, as of the logits without a cache
# of every kind of layer: layers stacked, whatever the name says
_SCANNED = ("gemma3", "gpt_oss", "deepseek_v3_yarn")
_FIRST = {case.model_type: case.name for case in reversed(causal_cases())}
# one of each family, and those whose masks or positions are of another kind
_TESTED = {
    *_FIRST.values(), "llama_no_mask", "llama_dynamic", "llama_yarn", "deepseek_v3_yarn",
    "mixtral_window", "qwen2_window", "phi3_window", "phi3_longrope_short", "phi3_longrope_long",
}  # fmt: skip
_CASES = [case for case in causal_cases() if case.name in _TESTED]


def padded(rows: list[list[int]], length: int) -> np.ndarray:
    return np.array([row + [0] * (length - len(row)) for row in rows], np.int32)


@partial(jax.jit, static_argnums=(0, 4))
def prefill(model: Transformer, params, tokens, lengths, slots: int):
    cache = make_cache(model.architecture, len(tokens), slots, scan=model.scan)
    return model.apply({"params": params}, tokens, cache=cache, prompt_lengths=lengths)


@partial(jax.jit, static_argnums=0)
def step(model: Transformer, params, tokens, cache):
    return model.apply({"params": params}, tokens[:, None], cache=cache)


def model_and_params(case: Case, scan: bool):
    _, shapes = goldens.read(case.name)
    return from_tensors(case.config, weights_of(shapes, case.model_type), scan=scan)


@slow
@pytest.mark.representatives(
    "llama", "gemma3", "gpt_oss", "deepseek_v3", "gpt2", "mixtral_window"
)
@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_cached_logits_are_those_of_transformers_with_its_cache(case: Case):
    """Prompts of unequal lengths; there padded on the left, here on the right."""
    with np.load(FILE) as file:
        tokens, logits = file[f"{case.name}/tokens"], file[f"{case.name}/logits"]
    scan = case.name in _SCANNED or crc32(case.name.encode()) % 2 == 1
    model, params = model_and_params(case, scan)
    lengths = np.array(LENGTHS, np.int32)
    given = padded(prompts_of(case), 12)
    outputs, found = prefill(model, params, given, lengths, 20), []
    for number in range(NEW):
        found.append(outputs.logits[:, 0])
        if number + 1 < NEW:
            outputs = step(model, params, tokens[:, number].astype(np.int32), outputs.cache)
    assert goldens.difference(np.stack(found, 1), logits) < _TOLERANCE
    np.testing.assert_array_equal(outputs.cache.lengths, lengths + NEW - 1)


@slow
@pytest.mark.parametrize("scan", [False, True])
def test_cached_logits_of_grok(scan: bool):
    """Grok-1's are those of a float64 NumPy forward pass without a cache."""
    (case,) = (case for case in CASES if case.config is GROK)
    golden, _ = goldens.read(case.name)
    model, params = model_and_params(case, scan)
    mask, ids = (inputs_of(case)[name] for name in ("attention_mask", "input_ids"))
    rows = [row[keep != 0] for row, keep in zip(ids, mask, strict=True)]
    want = [row[keep != 0] for row, keep in zip(golden["logits"], mask, strict=True)]
    lengths = np.array([5, 6, 7], np.int32)
    given = padded([row[:n].tolist() for row, n in zip(rows, lengths)], 8)
    outputs = prefill(model, params, given, lengths, 16)
    for number in range(4):
        for row in range(3):
            at = lengths[row] - 1 + number
            far = goldens.difference(np.asarray(outputs.logits[row, 0]), want[row][at])
            assert far < 1e-4, (row, number)
        new = np.array([rows[row][lengths[row] + number] for row in range(3)], np.int32)
        outputs = step(model, params, new, outputs.cache)


@slow
def test_a_ring_holds_the_last_tokens_of_a_window_however_long_the_sequence():
    model, variables = model_of("mistral")
    window = next(model.architecture.blocks()).attention.window
    outputs = prefill(model, variables["params"], IDS[:1, :3], np.array([3]), 64)
    assert outputs.cache.layers[0].keys.shape[1] == window < 14
    for token in IDS[0, 3:]:
        outputs = step(model, variables["params"], np.array([token]), outputs.cache)
    whole = jax.jit(model.apply)(variables, IDS[:1]).logits[:, -1:]
    scale = np.abs(whole).max()
    np.testing.assert_allclose(outputs.logits, whole, atol=2e-5 * scale)


@slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_a_cache_of_fewer_bits_is_near(dtype: str):
    model, variables = model_of("llama")
    whole = np.asarray(jax.jit(model.apply)(variables, IDS).logits)
    cache = make_cache(model.architecture, 2, 16, dtype)
    outputs = jax.jit(model.apply)(
        variables, IDS[:, :8], cache=cache, prompt_lengths=jnp.array([8, 8])
    )
    for at in range(8, 14):
        outputs = step(model, variables["params"], IDS[:, at], outputs.cache)
    assert outputs.cache.layers[0].keys.dtype == dtype
    far = np.abs(outputs.logits[:, 0] - whole[:, -1]).max() / np.abs(whole).max()
    assert 1e-6 < far < (0.02 if dtype == "bfloat16" else 0.2)


def names() -> list[str]:
    from explorer.architectures.catalog.entries import entries

    return [entry.id for entry in entries()]


def causal(name: str):
    architecture = resolve(name).architecture
    try:
        check_causal(architecture)
    except InputError:
        return None
    return architecture


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(("batch", "context"), [(1, 4096), (3, 700)])
def test_sizes_are_those_of_plans(batch: int, context: int, scan: bool):
    """Of every causal model of the catalogue."""
    found = 0
    for name in names():
        architecture = causal(name)
        if architecture is None:
            continue
        length = min(context, architecture.positions or context)
        cache = jax.eval_shape(
            lambda a=architecture, n=length: make_cache(a, batch, n, "bfloat16", scan=scan)
        )
        size = sum(
            leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(cache.layers)
        )
        plan = ex.plan(name, batch=batch, context=length, kv_dtype="bfloat16")
        (term,) = (term for term in plan.terms if term.name == "kv_cache")
        assert size == term.bytes, name
        found += 1
    assert found > 60


def test_models_that_do_not_continue_texts():
    for name, words in (
        ("bert-base-uncased", "its attention is not causal"),
        ("vit-base-patch16-224", "its attention is not causal"),
    ):
        with pytest.raises(InputError, match=words):
            make_cache(resolve(name).architecture, 1, 8)
    with pytest.raises(InputError, match="has no head that predicts tokens"):
        make_cache(model_of("llama_headless")[0].architecture, 1, 8)


def test_records_are_frozen_trees():
    cache = make_cache(model_of("deepseek_v3_yarn")[0].architecture, 2, 8, "bfloat16")
    leaves, treedef = jax.tree.flatten(cache)
    chex.assert_trees_all_equal_shapes(cache, jax.tree.unflatten(treedef, leaves))
    with pytest.raises(AttributeError):
        cache.lengths = cache.lengths + 1  # pyright: ignore[reportAttributeAccessIssue]
