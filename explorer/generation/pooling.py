"""How a folder of sentence-transformers makes one vector of a text's hidden states."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import msgspec

from explorer.errors import FormatError, InputError, printable
from explorer.pretrained.tokenizers import settings_of
from explorer.storage.local import LOCAL, exists

__all__ = ["POOLINGS", "Pooling", "pooled", "pooling_of"]

# the order in which several are concatenated, by the names of 1_Pooling/config.json
POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len": "pooling_mode_mean_sqrt_len_tokens",
    "last": "pooling_mode_lasttoken",
}
_OTHERS = ("pooling_mode_weightedmean_tokens",)
_MOST = 1_000_000  # bytes of modules.json


class Pooling(msgspec.Struct, frozen=True, kw_only=True):
    """How vectors are made.

    Attributes:
        kinds: of `POOLINGS`; several are concatenated.
        normalised: whether vectors are divided by their length.
        longest: tokens of a text at most; None where nothing says so.
        prompt: what is put before each text.
    """

    kinds: tuple[str, ...]
    normalised: bool = False
    longest: int | None = None
    prompt: str = ""


def pooling_of(folder: str) -> Pooling | None:
    """Return the pooling of a folder; None where it is not of sentence-transformers.

    Raises:
        InputError: a module that is not supported, or a file that is not as it should be.
    """
    path = os.path.join(folder, "modules.json")
    if not exists(path):
        return None
    try:
        modules = msgspec.json.decode(
            LOCAL.read_whole(path, _MOST), type=list[dict[str, Any]]
        )
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise FormatError(
            path, found=f"is not a list of modules ({error})", cure="download it again"
        ) from None
    kinds: tuple[str, ...] = ()
    normalised = False
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            place = os.path.join(folder, str(module.get("path", "")))
            kinds = _kinds(place)
        elif kind == "Normalize":
            normalised = True
        elif kind != "Transformer":
            raise InputError(
                path,
                found=f"has the module {printable(kind, 40)!r}",
                expected="Transformer, Pooling and Normalize",
            )
    if not kinds:
        raise InputError(path, found="has no Pooling", expected="one after the Transformer")
    longest = settings_of(folder, "sentence_bert_config.json").get("max_seq_length")
    config = settings_of(folder, "config_sentence_transformers.json")
    prompts, name = config.get("prompts"), config.get("default_prompt_name")
    prompt = prompts.get(name, "") if isinstance(prompts, dict) and name else ""
    return Pooling(
        kinds=kinds,
        normalised=normalised,
        longest=longest if type(longest) is int and longest > 0 else None,
        prompt=prompt if isinstance(prompt, str) else "",
    )


def _kinds(place: str) -> tuple[str, ...]:
    config = settings_of(place, "config.json")
    for key in _OTHERS:
        if config.get(key):
            raise InputError(
                os.path.join(place, "config.json"),
                found=f"sets {key}",
                expected=f"one of {', '.join(POOLINGS.values())}",
            )
    return tuple(kind for kind, key in POOLINGS.items() if config.get(key))


def pooled(hidden: jax.Array, mask: jax.Array, pooling: Pooling) -> jax.Array:
    """Return a vector of each text, [batch, size of all kinds].

    Args:
        hidden: [batch, length, size].
        mask: [batch, length], 0 for padding after the tokens.
        pooling: how.

    >>> hidden = jnp.array([[[1.0, 0.0], [3.0, 4.0], [9.0, 9.0]]])
    >>> mask = jnp.array([[1, 1, 0]])
    >>> pooled(hidden, mask, Pooling(kinds=("mean", "last"))).tolist()
    [[2.0, 2.0, 3.0, 4.0]]
    """
    hidden = hidden.astype(jnp.float32)
    real, count = mask[..., None].astype(jnp.float32), mask.sum(-1, keepdims=True)
    found = []
    for kind in pooling.kinds:
        if kind == "cls":
            found.append(hidden[:, 0])
        elif kind == "max":
            found.append(jnp.where(real > 0, hidden, -jnp.inf).max(1))
        elif kind == "last":
            found.append(jnp.take_along_axis(hidden, count[..., None] - 1, 1)[:, 0])
        else:
            by = jnp.sqrt(count) if kind == "mean_sqrt_len" else count
            found.append((hidden * real).sum(1) / by)
    vectors = jnp.concatenate(found, -1)
    if pooling.normalised:
        length = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
        vectors = vectors / jnp.maximum(length, 1e-12)
    return vectors
