"""Prompts -> their continuations: a prefill, then a step a token."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from jax.core import Tracer

from explorer.arguments import check_kinds
from explorer.errors import InputError, TreeError, check_type
from explorer.generation.programs import State, programs_of
from explorer.generation.prompts import Prompts, bucket, longest_of, prompts_of
from explorer.generation.sampling import amounts_of, sampling_of
from explorer.generation.settings import GenerationSettings
from explorer.models.cache import check_causal
from explorer.models.transformer import Transformer
from explorer.training.sharding.automatic import automatic_axes, on_automatic
from explorer.tree.arrays import check_concrete
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


@automatic_axes()
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
        params: its "params", on meshes of any axes; quantised leaves are dequantised inside the compiled functions.
        tokens: ids [batch, length], or sequences of unequal lengths.
        settings: checked ones.
        attention_mask: [batch, length], 0 for padding on either side.
        on_token: called with a sequence's number and each of its tokens, as they come.

    Raises:
        InputError: as `prompts_of`, or a model that is not causal.
    """
    _check_model(module, params, settings)
    check_concrete("tokens", tokens)
    check_concrete("attention_mask", attention_mask)
    if isinstance(jnp.zeros(()), Tracer):  # as is then all that is computed
        raise InputError(
            "generate",
            found="is called in a function that is traced",
            expected="a call whose tokens can be read",
            cure="call it outside jit",
        )
    prompts = prompts_of(
        tokens, attention_mask, module.architecture, settings.max_new_tokens
    )
    run = _Decoding(module, params, prompts, settings)
    start = first = now = time.perf_counter()
    rows = _Continuations(len(prompts.lengths), settings, on_token)
    new = run.prefill(prompts)
    steps = 0
    for number in range(1, settings.max_new_tokens + 1):
        read = new
        is_last = number == settings.max_new_tokens
        starts_anew = not is_last and run.starts_anew(number)
        if not is_last and not starts_anew:
            new = run.step()  # the device works on it while the host reads the token before
        ended = rows.take(np.asarray(read))
        now = time.perf_counter()
        if number == 1:
            first = now
        else:
            steps += 1
        if ended:
            break
        if starts_anew:
            new = run.prefill(rows.after(prompts), drawn=number)
    return Generation(
        tokens=tuple(map(tuple, rows.tokens)),
        stopped=tuple(rows.stopped),
        prompt_tokens=int(prompts.lengths.sum()),
        prefill_seconds=first - start,
        decode_seconds=now - first,
        cache_bytes=run.cache_bytes,
        steps=steps,
    )


def _check_model(module: Any, params: Any, settings: GenerationSettings) -> None:
    """Refuse what is not a causal model with its parameters, or stops outside its vocabulary."""
    check_type(
        "module", module, Transformer, "a module of explorer.build_model or load_pretrained"
    )
    check_causal(module.architecture)
    check_kinds(("params", params, "a dict"))
    check_concrete("params", params)
    if "embed" not in params:
        raise TreeError(
            "params", found="has no embed", expected='the "params" of the module'
        )
    for token in settings.stop_tokens:
        if token >= module.architecture.embed.rows:
            raise InputError(
                "stop_tokens",
                found=f"holds {token}",
                expected=f"ids below {module.architecture.embed.rows:,}, the model's vocabulary",
            )


class _Decoding:
    """The state on the device, and the programs that move it."""

    def __init__(
        self,
        module: Any,
        params: Params,
        prompts: Prompts,
        settings: GenerationSettings,
    ):
        # arrays of the host would be copied to the device at every step
        self._params = jax.tree.map(_on_device, on_automatic(params))
        self._settings = settings
        self._programs = programs_of(module, sampling_of(settings))
        self._amounts = amounts_of(settings)
        self._longest = int(prompts.lengths.max())
        self._switch = _switch_of(module)
        limit = longest_of(module.architecture)
        slots = bucket(self._longest + settings.max_new_tokens)
        self._slots = slots if limit is None else min(slots, limit)
        self._state: State | None = None

    def prefill(self, prompts: Prompts, drawn: int = 0) -> jax.Array:
        """Fill an empty cache, and return the tokens that follow, [batch]."""
        length = prompts.tokens.shape[1]
        padding = min(bucket(length), self._slots) - length
        dtype = self._settings.cache_dtype
        self._state, tokens = self._programs.prefill(
            self._params,
            np.pad(prompts.tokens, ((0, 0), (0, padding))),
            prompts.lengths,
            self._amounts,
            jax.random.key(self._settings.seed),
            np.int32(drawn),
            slots=self._slots,
            dtype=dtype and jnp.dtype(dtype),
        )
        return tokens

    def step(self) -> jax.Array:
        """Take the last tokens into the cache, and return those that follow, [batch]."""
        assert self._state is not None, "a prefill comes first"
        self._state, tokens = self._programs.step(self._params, self._state, self._amounts)
        return tokens

    def starts_anew(self, new_tokens: int) -> bool:
        """Return whether the next step is the first with other rotary frequencies."""
        return self._switch is not None and self._longest + new_tokens == self._switch + 1

    @property
    def cache_bytes(self) -> int:
        """Bytes of the keys, values and latents of all layers."""
        assert self._state is not None, "a prefill comes first"
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self._state.cache.layers))


def _on_device(leaf: Any) -> Any:
    return leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)


def _switch_of(module: Transformer) -> int | None:
    """Return the length beyond which longrope uses other frequencies, for all tokens."""
    for block in module.architecture.blocks():
        rope = block.attention.rope
        if (
            rope is not None
            and rope.scaling is not None
            and rope.scaling.kind == "longrope"
        ):
            return rope.scaling.original
    return None


class _Continuations:
    """The tokens of each sequence as they come, until all are ended."""

    def __init__(self, rows: int, settings: GenerationSettings, on_token: OnToken | None):
        self.tokens: list[list[int]] = [[] for _ in range(rows)]
        self.stopped = [False] * rows
        self._stops = frozenset(settings.stop_tokens)
        self._on_token = on_token
        self._taken: list[np.ndarray] = []

    def take(self, new: np.ndarray) -> bool:
        """Take in one token a sequence; return whether all are ended."""
        self._taken.append(new)
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

    def after(self, prompts: Prompts) -> Prompts:
        """Return prompts with all that was taken in, of ended sequences too."""
        new = np.stack(self._taken, 1)
        lengths = prompts.lengths + new.shape[1]
        tokens = np.pad(prompts.tokens, ((0, 0), (0, new.shape[1])))
        for row, length in enumerate(prompts.lengths):
            tokens[row, length : length + new.shape[1]] = new[row]
        return Prompts(tokens, lengths)
