"""Prompts -> their continuations: a prefill, then a step a token."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from explorer.errors import InputError, TreeError, check_type
from explorer.generation.programs import State, programs_of
from explorer.generation.prompts import Prompts, bucket, longest_of, prompts_of
from explorer.generation.sampling import amounts_of, sampling_of
from explorer.generation.settings import GenerationSettings
from explorer.models.cache import check_causal
from explorer.models.transformer import Transformer
from explorer.tree.types import Params

__all__ = ["Generation", "OnToken", "generate_tokens"]

# called with the number of a sequence and its next token
OnToken = Callable[[int, int], object]


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What a model continued prompts with.

    Attributes:
        tokens: the new ones of each prompt, without the stop token.
        stopped: of each, whether a stop token ended it.
        prompt_tokens: in all prompts.
        prefill_seconds: until the first token, compilation included where there was any.
        decode_seconds: from there to the last one.
        cache_bytes: of what was kept.
        steps: of decoding, each of one token of every sequence.
    """

    tokens: tuple[tuple[int, ...], ...]
    stopped: tuple[bool, ...]
    prompt_tokens: int
    prefill_seconds: float
    decode_seconds: float
    cache_bytes: int
    steps: int

    @property
    def new_tokens(self) -> int:
        """Number of new tokens of all prompts."""
        return sum(map(len, self.tokens))


def generate_tokens(
    module: Any,
    params: Params,
    tokens: Any,
    settings: GenerationSettings,
    *,
    attention_mask: Any = None,
    on_token: OnToken | None = None,
) -> Generation:
    """Return the continuations of prompts.

    Args:
        module: of `build_model` or `load_pretrained`.
        params: its "params"; quantised leaves are dequantised inside the compiled functions.
        tokens: ids [batch, length], or sequences of unequal lengths.
        settings: checked ones.
        attention_mask: [batch, length], 0 for padding on either side.
        on_token: called with a sequence's number and each of its tokens, as they come.

    Raises:
        InputError: as `prompts_of`, or a model that is not causal.
    """
    check_type("module", module, Transformer, "a module of explorer.build_model or load_pretrained")
    check_causal(module.architecture)
    if "embed" not in params:
        raise TreeError("params", found="has no embed", expected='the "params" of the module')
    for token in settings.stop_tokens:
        if token >= module.architecture.embed.rows:
            raise InputError(
                "stop_tokens",
                found=f"holds {token}",
                expected=f"ids below {module.architecture.embed.rows:,}, the model's vocabulary",
            )
    prompts = prompts_of(
        tokens, attention_mask, module.architecture, settings.max_new_tokens
    )
    programs = programs_of(module, sampling_of(settings))
    amounts = amounts_of(settings)
    padded, slots = _sizes(prompts, module, settings.max_new_tokens)
    dtype = settings.cache_dtype and jnp.dtype(settings.cache_dtype)
    start = time.perf_counter()
    state, new = programs.prefill(
        params,
        padded,
        prompts.lengths,
        amounts,
        jax.random.key(settings.seed),
        slots=slots,
        dtype=dtype,
    )
    rows = _Rows(len(prompts.lengths), settings, on_token)
    first = now = start
    size = _bytes_of(state)
    steps = 0
    for number in range(settings.max_new_tokens):
        read = new
        # the device works on the next token while the host looks at this one
        if number + 1 < settings.max_new_tokens:
            state, new = programs.step(params, state, amounts)
        ended = rows.take(np.asarray(read))
        now = time.perf_counter()
        if number == 0:
            first = now
        else:
            steps += 1
        if ended:
            break
    return Generation(
        tokens=tuple(map(tuple, rows.tokens)),
        stopped=tuple(rows.stopped),
        prompt_tokens=int(prompts.lengths.sum()),
        prefill_seconds=first - start,
        decode_seconds=now - first,
        cache_bytes=size,
        steps=steps,
    )


class _Rows:
    """The tokens of each sequence as they come, until all are ended."""

    def __init__(self, rows: int, settings: GenerationSettings, on_token: OnToken | None):
        self.tokens: list[list[int]] = [[] for _ in range(rows)]
        self.stopped = [False] * rows
        self._stops = frozenset(settings.stop_tokens)
        self._on_token = on_token

    def take(self, new: np.ndarray) -> bool:
        """Take in one token a sequence; return whether all are ended."""
        for row, token in enumerate(new.tolist()):
            if self.stopped[row]:
                continue
            if token in self._stops:
                self.stopped[row] = True
                continue
            self.tokens[row].append(token)
            if self._on_token is not None:
                self._on_token(row, token)
        return all(self.stopped)


def _sizes(prompts: Prompts, module: Transformer, new: int) -> tuple[np.ndarray, int]:
    """Return prompts padded to a bucket, and the slots of a cache."""
    length = int(prompts.lengths.max())
    longest = longest_of(module.architecture)
    slots = bucket(length + new)
    slots = slots if longest is None else min(slots, longest)
    padding = min(bucket(length), slots) - length
    return np.pad(prompts.tokens, ((0, 0), (0, padding))), slots


def _bytes_of(state: State) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(state.cache.layers))
