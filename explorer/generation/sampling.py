"""Logits -> the next token of each sequence.

The filters follow each other as those of transformers do: penalty, temperature, top-k, top-p,
min-p. Which of them there are decides the program; their numbers are its arguments.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from explorer.generation.settings import GenerationSettings

__all__ = ["Amounts", "Sampling", "amounts_of", "filtered", "next_tokens", "sampling_of"]


class Sampling(NamedTuple):
    """What is compiled: which filters there are, and how many candidates top-k leaves."""

    draws: bool
    top_k: int | None
    top_p: bool
    min_p: bool
    penalises: bool


class Amounts(NamedTuple):
    """The numbers of the filters, as arrays."""

    temperature: jax.Array
    top_p: jax.Array
    min_p: jax.Array
    penalty: jax.Array


def sampling_of(settings: GenerationSettings) -> Sampling:
    """Return what is compiled for settings.

    >>> sampling_of(GenerationSettings(temperature=0.8, top_k=40))
    Sampling(draws=True, top_k=40, top_p=False, min_p=False, penalises=False)
    """
    return Sampling(
        settings.temperature > 0,
        settings.top_k,
        settings.top_p is not None and settings.top_p < 1,
        settings.min_p is not None and settings.min_p > 0,
        settings.repetition_penalty != 1,
    )


def amounts_of(settings: GenerationSettings) -> Amounts:
    """Return the numbers of settings as arrays."""
    given = (
        settings.temperature or 1.0,
        1.0 if settings.top_p is None else settings.top_p,
        settings.min_p or 0.0,
        settings.repetition_penalty,
    )
    return Amounts(*(jnp.asarray(each, jnp.float32) for each in given))


def filtered(
    logits: jax.Array, sampling: Sampling, amounts: Amounts, seen: jax.Array | None = None
) -> jax.Array:
    """Return logits [batch, vocabulary] in float32, -inf for tokens that are left out.

    Args:
        logits: [batch, vocabulary].
        sampling: which filters there are.
        amounts: their numbers.
        seen: [batch, vocabulary], whether a token was in the sequence; for a penalty.

    >>> sampling = Sampling(True, 2, False, False, False)
    >>> amounts = amounts_of(GenerationSettings(temperature=0.5))
    >>> filtered(jnp.array([[1.0, 3.0, 2.0]]), sampling, amounts).tolist()
    [[-inf, 6.0, 4.0]]
    """
    logits = logits.astype(jnp.float32)
    if sampling.penalises and seen is not None:
        changed = jnp.where(logits < 0, logits * amounts.penalty, logits / amounts.penalty)
        logits = jnp.where(seen, changed, logits)
    if not sampling.draws:
        return logits
    logits = logits / amounts.temperature
    ordered = None
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        ordered = jax.lax.top_k(logits, sampling.top_k)[0]
        logits = jnp.where(logits < ordered[:, -1:], -jnp.inf, logits)
    if sampling.top_p:
        if ordered is None:
            ordered = jnp.sort(logits, descending=True)
        shares = jax.nn.softmax(ordered)
        before = jnp.cumsum(shares, -1) - shares  # the share of all that are likelier
        least = jnp.where(before < amounts.top_p, ordered, jnp.inf).min(-1, keepdims=True)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if sampling.min_p:
        least = logits.max(-1, keepdims=True) + jnp.log(amounts.min_p)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return logits


def next_tokens(
    logits: jax.Array,
    sampling: Sampling,
    amounts: Amounts,
    seen: jax.Array | None,
    key: jax.Array,
) -> jax.Array:
    """Return a token of each row [batch], drawn with a key of its own from `key`.

    Args:
        logits, sampling, amounts, seen: as of `filtered`.
        key: of this position in the sequences.
    """
    logits = filtered(logits, sampling, amounts, seen)
    if not sampling.draws:
        return jnp.argmax(logits, -1).astype(jnp.int32)
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(len(logits)))
    return jax.vmap(jax.random.categorical)(keys, logits).astype(jnp.int32)
