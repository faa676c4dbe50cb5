"""How well a model predicts a text: its perplexity, over windows that overlap."""

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from explorer.errors import InputError, check_type
from explorer.generation.prompts import longest_of, prompts_of
from explorer.generation.running_dtype import running_dtype
from explorer.models.cache import check_causal
from explorer.models.transformer import Transformer
from explorer.pretrained.loading import load_pretrained
from explorer.pretrained.tokenizers import tokenizer_of
from explorer.training.sharding.automatic import automatic_axes
from explorer.transforms.evaluation import materialised
from explorer.tree.types import Params

__all__ = ["TextEvaluation", "text_evaluation", "windows_of"]

_LENGTH = 512


class TextEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """How well a model predicts a text.

    Attributes:
        target: the checkpoint.
        tokens: that were predicted: all but the first.
        loss: mean negative log-likelihood of a token, in nats.
        perplexity: its exponential.
        bits_per_byte: of the text in UTF-8, which does not depend on the tokenizer.
        length: tokens of a window.
        stride: tokens from the start of a window to that of the next one.
    """

    target: str
    tokens: int
    loss: float
    perplexity: float
    bits_per_byte: float
    length: int
    stride: int


class TextWindow(NamedTuple):
    """Tokens start to end of a text, of which those from `first` on are scored."""

    start: int
    first: int
    end: int


@automatic_axes()
def text_evaluation(
    target: str | os.PathLike,
    text: str,
    *,
    length: int | None = None,
    stride: int | None = None,
    dtype: Any = None,
) -> TextEvaluation:
    """Return how well a model predicts a text; each token is scored once.

    Args:
        target: a folder with weights, config.json and tokenizer.json, or a GGUF file.
        text: at least two tokens of it.
        length: tokens of a window; None for 512, or the model's positions if they are fewer.
        stride: tokens from one window to the next; None for half of the length, so that each
            token but the first ones is predicted from half a window at least.
        dtype: of the weights and of the computation; None for float32 on a CPU, where 16 bits
            take longer, and elsewhere for that of the file.

    Raises:
        InputError: a text of less than two tokens, windows that make no sense, or as
            `load_pretrained` and `tokenizer_of`.
    """
    check_type("text", text, str, "a str")
    path = os.fspath(target)
    for name, given in (("length", length), ("stride", stride)):
        check_type(name, given, int | None, "a whole number")
    model: Any
    model, params = load_pretrained(path, dtype=running_dtype(dtype))
    check_causal(model.architecture)
    tokenizer = tokenizer_of(path)
    ids, begin = np.asarray(tokenizer.encode(text), np.int32), tokenizer.encode("")
    if len(ids) < 2:
        found = f"{len(ids)} token{'s' * (len(ids) != 1)}"
        raise InputError("text", found=found, expected="two or more: one predicts the next")
    prompts_of([ids], None, _unlimited(model), 0)
    length, stride = _checked(model, length, stride)
    # a text's start is a part of every window
    shift = len(begin) if len(begin) == 1 and ids[0] == begin[0] else 0
    total = 0.0
    for start, first, end in windows_of(len(ids), length, stride, shift):
        window = ids[start:end]
        if shift and start:
            window = np.concatenate([ids[:1], window])
        scored = end - first
        padded = np.pad(window, (0, length - len(window)))
        total += float(
            _loss(model)(params, padded[None], len(window) - scored, len(window))
        )
    loss = total / (len(ids) - 1)
    return TextEvaluation(
        target=path,
        tokens=len(ids) - 1,
        loss=loss,
        perplexity=math.exp(loss) if loss < 700 else math.inf,
        bits_per_byte=total / math.log(2) / max(len(text.encode()), 1),
        length=length,
        stride=stride,
    )


def windows_of(
    tokens: int, length: int, stride: int, shift: int = 0
) -> Iterator[TextWindow]:
    """Yield the windows of a text.

    Args:
        tokens: of the text, two or more.
        length: tokens of a window at most.
        stride: between their starts.
        shift: tokens that are put before every window but the first.

    >>> [*windows_of(7, length=4, stride=2)]
    [TextWindow(start=0, first=1, end=4), TextWindow(start=2, first=4, end=6), TextWindow(start=4, first=6, end=7)]
    """
    start, scored = 0, 1
    while scored < tokens:
        room = length - (shift if start else 0)
        end = min(start + room, tokens)
        yield TextWindow(start, scored, end)
        scored = end
        start += stride


@lru_cache(maxsize=8)
def _loss(module: Transformer) -> Any:
    @jax.jit
    def loss(params: Params, tokens: jax.Array, first: Any, end: Any) -> jax.Array:
        """Return the negative log-likelihood of tokens first to end of one window."""
        outputs: Any = module.apply({"params": materialised(params)}, tokens)
        logits = outputs.logits[0, :-1].astype(jnp.float32)
        picked = jnp.take_along_axis(logits, tokens[0, 1:, None], -1)[:, 0]
        each = jax.nn.logsumexp(logits, -1) - picked
        numbers = jnp.arange(1, tokens.shape[1])
        return jnp.where((numbers >= first) & (numbers < end), each, 0).sum()

    return loss


def _checked(
    module: Transformer, length: int | None, stride: int | None
) -> tuple[int, int]:
    longest = longest_of(module.architecture)
    if length is None:
        length = _LENGTH if longest is None else min(_LENGTH, longest)
    if length < 2 or (longest is not None and length > longest):
        most = "" if longest is None else f" to {longest:,}, the model's positions"
        raise InputError("length", found=f"is {length}", expected=f"2{most or ' or more'}")
    stride = max(1, length // 2) if stride is None else stride
    # one token of a window is its start, and one more may be the text's
    if not 1 <= stride <= max(1, length - 2):
        raise InputError(
            "stride",
            found=f"is {stride}",
            expected=f"1 to {max(1, length - 2):,}, within the length",
        )
    return length, stride


def _unlimited(module: Transformer) -> Any:
    """Return the architecture without its positions: a text may be longer than a window."""
    return msgspec.structs.replace(module.architecture, positions=None, position_embed=None)
