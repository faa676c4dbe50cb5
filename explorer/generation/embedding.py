"""Texts -> vectors, by an encoder and the pooling that its folder describes."""

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import msgspec
import numpy as np

from explorer.errors import InputError, TreeError, check_type, printable
from explorer.generation.pooling import POOLINGS, Pooling, pooled, pooling_of
from explorer.generation.prompts import bucket, longest_of
from explorer.generation.running_dtype import running_dtype
from explorer.models.transformer import Transformer
from explorer.pretrained.loading import config_of, load_pretrained
from explorer.pretrained.tokenizers import tokenizer_of
from explorer.storage.local import exists
from explorer.training.sharding.automatic import automatic_axes
from explorer.tree.types import Params

__all__ = ["embed_texts"]


@automatic_axes()
def embed_texts(
    target: str | os.PathLike,
    texts: str | Sequence[str],
    *,
    pooling: str | None = None,
    normalise: bool | None = None,
    batch: int = 32,
    dtype: Any = None,
) -> np.ndarray:
    """Return the vectors of texts, [texts, size] in float32; [size] of one text.

    Args:
        target: a folder with weights, config.json and tokenizer.json.
        texts: one or several; what is beyond the model's longest sequence is left out.
        pooling: "mean", "cls", "max", "mean_sqrt_len" or "last"; None for that of the folder.
        normalise: whether vectors have length 1; None for what the folder says.
        batch: texts of one call.
        dtype: of the weights and of the computation; None for float32 on a CPU, where 16 bits
            take longer, and elsewhere for that of the file.

    Raises:
        InputError: no texts, an empty one without special tokens, an unknown pooling, none in
            the folder, or as `load_pretrained` and `tokenizer_of`.
    """
    given = [texts] if isinstance(texts, str) else texts
    if not isinstance(given, list | tuple) or not all(isinstance(e, str) for e in given):
        kind = type(texts).__name__
        raise TreeError("texts", found=f"is {kind}", expected="a str, or a list of them")
    if not given:
        raise InputError("texts", found="no text", expected="one or more")
    check_type("batch", batch, int, "texts of one call, 1 or more")
    if batch < 1:
        raise InputError("batch", found=f"is {batch}", expected="1 or more")
    path = os.fspath(target)
    rule = _rule(path, pooling, normalise)
    module, params = load_pretrained(path, dtype=running_dtype(dtype))
    if module.architecture.embed is None:
        raise InputError(path, found="a model of images", expected="a model of texts")
    rows = _rows(path, given, module, rule)
    vectors: list[Any] = [None] * len(rows)
    # texts of about one length share a call
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    for start in range(0, len(rows), batch):
        part = order[start : start + batch]
        found = _vectors(module, params, [rows[number] for number in part], rule)
        for number, vector in zip(part, found, strict=True):
            vectors[number] = vector
    return vectors[0] if isinstance(texts, str) else np.stack(vectors)


def _rule(path: str, pooling: str | None, normalise: bool | None) -> Pooling:
    if pooling is not None and pooling not in POOLINGS:
        raise InputError(
            "pooling",
            found=f"is {printable(repr(pooling), 40)}",
            expected=f"one of {', '.join(POOLINGS)}",
        )
    rule = pooling_of(path if os.path.isdir(path) else os.path.dirname(path))
    if rule is None:
        if pooling is None:
            if not exists(path):
                config_of(path)  # says so
            raise InputError(
                path,
                found="has no modules.json, which says how vectors are made",
                expected="a folder of sentence-transformers",
                cure='give pooling="mean" or "cls"',
            )
        rule = Pooling(kinds=(pooling,))
    elif pooling is not None:
        rule = msgspec.structs.replace(rule, kinds=(pooling,))
    if normalise is not None:
        rule = msgspec.structs.replace(rule, normalised=normalise)
    return rule


def _rows(
    path: str, texts: Sequence[str], module: Transformer, rule: Pooling
) -> list[list[int]]:
    """Return the token ids of each text, within the longest sequence."""
    tokenizer = tokenizer_of(path)
    limits = (rule.longest, _positions(module))
    longest = min((each for each in limits if each is not None), default=None)
    rows = [tokenizer.encode(rule.prompt + text, longest) for text in texts]
    for number, row in enumerate(rows):
        if not row:
            raise InputError(
                f"texts[{number}]", found="has no tokens", expected="a text that has some"
            )
    return rows


def _positions(module: Transformer) -> int | None:
    """Return the tokens of the longest sequence; RoBERTa's numbers start from 1."""
    longest = longest_of(module.architecture)
    if longest is None or module.architecture.pad_token is None:
        return longest
    return longest - 1


def _vectors(
    module: Any, params: Params, rows: list[list[int]], rule: Pooling
) -> np.ndarray:
    longest, limit = max(map(len, rows)), _positions(module)
    length = bucket(longest) if limit is None else min(bucket(longest), limit)
    tokens = np.full((len(rows), length), module.architecture.pad_token or 0, np.int32)
    mask = np.zeros_like(tokens)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return np.asarray(_program(module, rule)(params, tokens, mask))


@lru_cache(maxsize=8)
def _program(module: Transformer, rule: Pooling) -> Any:
    @jax.jit
    def vectors(params: Params, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        outputs: Any = module.apply({"params": params}, tokens, attention_mask=mask)
        return pooled(outputs.hidden, mask, rule)

    return vectors
