"""Sequences in rows: each whole and once, in few rows, and learned from as if it were alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.errors import InputError
from explorer.training import PackedRows, Trainer, Weighted, next_tokens
from tests.models.tiny import model_of

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=60).filter(any)


def sequences_of(lengths: list[int]) -> list[np.ndarray]:
    """Return rows of numbers, all different."""
    ends = np.cumsum(lengths)
    return [np.arange(end - n, end, dtype=np.int64) + 1 for end, n in zip(ends, lengths)]


@given(LENGTHS, st.integers(1, 24))
def test_every_sequence_is_in_one_row_once_and_rows_are_few(
    lengths: list[int], length: int
):
    sequences = sequences_of(lengths)
    packed = PackedRows(sequences, length)
    batch = packed[np.arange(len(packed))]
    tokens, segments = batch["tokens"], batch["segment_ids"]
    assert tokens.shape == segments.shape == (len(packed), length)
    found = [
        row[ids == number].tolist()
        for row, ids in zip(tokens, segments)
        for number in range(1, ids.max() + 1)
    ]
    parts = [
        each[start : start + length].tolist()
        for each in sequences
        for start in range(0, len(each), length)
    ]
    assert sorted(found) == sorted(parts)
    assert (tokens[segments == 0] == 0).all()
    total = sum(lengths)
    assert packed.filled == pytest.approx(total / (len(packed) * length))
    # of two rows that are half empty, one would have gone into the other
    assert len(packed) <= 2 * total / length + 1
    for ids in segments:
        changes = np.flatnonzero(np.diff(ids))
        assert (np.diff(ids)[changes[:-1]] == 1).all()


@settings(deadline=None, max_examples=20)  # whose shapes are all compiled
@given(LENGTHS)
def test_targets_are_the_next_token_of_the_same_sequence(lengths: list[int]):
    sequences = sequences_of(lengths)
    batch = PackedRows(sequences, 40)[np.arange(len(PackedRows(sequences, 40)))]
    targets, weights = next_tokens(batch["tokens"], batch["segment_ids"])
    pairs = [
        pair for each in sequences for pair in zip(each[:-1].tolist(), each[1:].tolist())
    ]
    seen = np.asarray(weights) == 1
    found = zip(batch["tokens"][seen].tolist(), np.asarray(targets)[seen].tolist())
    assert sorted(found) == sorted(pairs)
    assert set(np.unique(weights)) <= {0, 1}


def test_gradients_are_those_of_the_sequences_alone():
    model, variables = model_of("llama")
    rng = np.random.default_rng(3)
    sequences = [rng.integers(3, 61, size) for size in (5, 3, 9, 2, 4)]

    def loss_fn(params: Any, batch: Any, context: Any) -> Weighted:
        tokens, ids = batch["tokens"], batch["segment_ids"]
        outputs: Any = model.apply({"params": params}, tokens, segment_ids=ids)
        targets, weights = next_tokens(tokens, ids)
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs.logits, targets)
        return Weighted((losses * weights).sum(), weights.sum())

    def alone(params: Any) -> jax.Array:
        total, count = jnp.zeros(()), 0
        for each in sequences:
            outputs: Any = model.apply({"params": params}, jnp.asarray(each)[None])
            logits, targets = outputs.logits[0, :-1], jnp.asarray(each[1:])
            total += optax.softmax_cross_entropy_with_integer_labels(logits, targets).sum()
            count += len(each) - 1
        return total / count

    packed = PackedRows(sequences, 12)
    assert len(packed) == 2
    batch = packed[np.arange(2)]
    trainer = Trainer(model, loss_fn, optax.sgd(1.0), donate=False)
    state = trainer.init_from(variables["params"], jax.random.key(0))
    after, metrics = trainer.step(state, batch)
    loss, grads = jax.jit(jax.value_and_grad(alone))(variables["params"])
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    moved = jax.tree.map(lambda before, now: before - now, state.params, after.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5), moved, grads
    )


def test_what_cannot_be_packed_is_refused():
    for sequences, length, text in (
        ([], 4, "sequences: found no token; expected at least one"),
        ([[1, 2], [0.5]], 4, r"sequences\[1\]: found float64 of shape \(1,\)"),
        ([[[1, 2]]], 4, r"sequences\[0\]: found int64 of shape \(1, 2\)"),
        ([[1, [2]]], 4, r"sequences\[0\]: found \[1, \[2\]\]; expected a row of integers"),
        ([[1]], 0, "length: found 0 tokens; expected 1 to 16,777,216"),
        (
            [[1], [5, 2**31]],
            4,
            r"sequences\[1\]: found tokens from 5 to 2,147,483,648; expected",
        ),
        (
            [np.array([2**32 - 1], np.uint32)],
            4,
            "to 4,294,967,295; expected each a token of 32",
        ),
        (7, 4, "sequences: is int; expected a list of rows of integers"),
    ):
        with pytest.raises(InputError, match=text.replace("found ", "(found )?")):
            PackedRows(sequences, length)
    with pytest.raises(InputError, match="pad: 1099511627776; expected a token of 32"):
        PackedRows([[1]], 4, pad=2**40)


def test_tokens_of_the_widest_numbers_stay_as_they_are():
    limits = np.iinfo(np.int32)
    packed = PackedRows([[limits.min, limits.max]], 3, pad=limits.min)
    tokens = packed[np.arange(1)]["tokens"].tolist()
    assert tokens == [[limits.min, limits.max, limits.min]]


def test_rows_without_tokens_have_no_targets():
    targets, weights = next_tokens(np.zeros((2, 0), int), np.zeros((2, 0), int))
    assert targets.shape == weights.shape == (2, 0)
