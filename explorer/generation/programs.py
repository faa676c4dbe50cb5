"""The two compiled programs of generation: a prefill, and a step of one token a sequence."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from explorer.generation.sampling import Amounts, Sampling, next_tokens
from explorer.models.cache import Cache, make_cache
from explorer.models.transformer import Transformer
from explorer.transforms.evaluation import materialised
from explorer.tree.types import Params

__all__ = ["Programs", "State", "programs_of"]


class State(NamedTuple):
    """What a step needs of the steps before.

    Attributes:
        cache: of all layers.
        tokens: the last of each sequence, [batch], not yet in the cache.
        seen: [batch, vocabulary], whether a token was in the sequence; None without a penalty.
        drawn: how many tokens each sequence has drawn.
        key: of all draws.
    """

    cache: Cache
    tokens: jax.Array
    seen: jax.Array | None
    drawn: jax.Array
    key: jax.Array


class Programs(NamedTuple):
    """Jitted functions, each of which returns the state and its tokens [batch].

    `prefill(params, tokens, lengths, amounts, key, drawn, slots, dtype)` and
    `step(params, state, amounts)`, whose state is donated.
    """

    prefill: Callable[..., tuple[State, jax.Array]]
    step: Callable[..., tuple[State, jax.Array]]


@lru_cache(maxsize=32)
def programs_of(module: Transformer, sampling: Sampling) -> Programs:
    """Return the programs of a model; the same ones for the same model and filters.

    Args:
        module: a causal language model.
        sampling: which filters there are.
    """

    @partial(jax.jit, static_argnames=("slots", "dtype"))
    def prefill(
        params: Params,
        tokens: jax.Array,
        lengths: jax.Array,
        amounts: Amounts,
        key: jax.Array,
        drawn: jax.Array,
        slots: int,
        dtype: np.dtype | None,
    ) -> tuple[State, jax.Array]:
        params = materialised(params)
        kept = dtype or _computed(module, params)
        batch = len(tokens)
        cache = make_cache(module.architecture, batch, slots, kept, scan=module.scan)
        outputs: Any = module.apply(
            {"params": params}, tokens, cache=cache, prompt_lengths=lengths
        )
        seen = None
        if sampling.penalises:
            real = jnp.arange(tokens.shape[1]) < lengths[:, None]
            seen = jnp.zeros((batch, outputs.logits.shape[-1]), bool)
            rows = jnp.arange(batch)[:, None]
            seen = seen.at[rows, tokens].max(real)
        state = State(outputs.cache, tokens[:, 0], seen, drawn, key)
        return _drawn(state, outputs.logits, sampling, amounts)

    @partial(jax.jit, donate_argnames="state")
    def step(params: Params, state: State, amounts: Amounts) -> tuple[State, jax.Array]:
        params = materialised(params)
        outputs: Any = module.apply(
            {"params": params}, state.tokens[:, None], cache=state.cache
        )
        state = state._replace(cache=outputs.cache)
        return _drawn(state, outputs.logits, sampling, amounts)

    return Programs(prefill, step)


def _drawn(
    state: State, logits: jax.Array, sampling: Sampling, amounts: Amounts
) -> tuple[State, jax.Array]:
    key = jax.random.fold_in(state.key, state.drawn)
    tokens = next_tokens(logits[:, 0], sampling, amounts, state.seen, key)
    seen = state.seen
    if seen is not None:
        seen = seen.at[jnp.arange(len(tokens)), tokens].set(True)
    state = state._replace(tokens=tokens, seen=seen, drawn=state.drawn + 1)
    # a copy of its own: the state's is donated to the next step
    return state, tokens + 0


def _computed(module: Transformer, params: Params) -> Any:
    """Return the dtype of the hidden states."""
    return module.dtype or params["embed"]["embedding"].dtype
