"""Text -> its continuation, by a checkpoint and the tokenizer that it carries."""

import os
from collections.abc import Callable
from typing import Any

import msgspec

from explorer.errors import InputError, check_type
from explorer.generation.generate import generate_tokens
from explorer.generation.running_dtype import running_dtype
from explorer.generation.settings import GenerationSettings
from explorer.models.cache import check_causal
from explorer.pretrained.loading import load_pretrained
from explorer.pretrained.tokenizers import tokenizer_of
from explorer.training.sharding.automatic import automatic_axes

__all__ = ["OnText", "TextGeneration", "continue_text"]

# called with each piece of text as it comes
OnText = Callable[[str], object]


class TextGeneration(msgspec.Struct, frozen=True, kw_only=True):
    """What a model continued a text with, and how fast.

    Attributes:
        target: the checkpoint.
        prompt: the text.
        text: its continuation.
        tokens: those of the continuation.
        prompt_tokens: in the prompt, those that texts start with included.
        stopped: whether a token that ends texts came, before so many as were allowed.
        prefill_seconds: until the first token, compilation included.
        decode_seconds: from there to the last one.
        decode_tokens_per_second: 0 where there was one token at most.
        cache_bytes: of the keys, values and latents that were kept.
    """

    target: str
    prompt: str
    text: str
    tokens: tuple[int, ...]
    prompt_tokens: int
    stopped: bool
    prefill_seconds: float
    decode_seconds: float
    decode_tokens_per_second: float
    cache_bytes: int


@automatic_axes()
def continue_text(
    target: str | os.PathLike,
    text: str,
    settings: GenerationSettings,
    *,
    dtype: Any = None,
    on_text: OnText | None = None,
) -> TextGeneration:
    """Return the continuation of a text.

    Args:
        target: a folder with weights, config.json and tokenizer.json, or a GGUF file.
        text: what to continue.
        settings: checked ones; the tokens that end the model's texts stop it too.
        dtype: of the weights and of the computation; None for float32 on a CPU, where 16 bits
            take longer, and elsewhere for that of the file.
        on_text: called with each piece of text as it comes.

    Raises:
        InputError: as `load_pretrained`, `tokenizer_of` and `generate_tokens`.
    """
    check_type("text", text, str, "a str")
    if not text:
        raise InputError("text", found="an empty prompt", expected="some text to continue")
    path = os.fspath(target)
    module, params = load_pretrained(path, dtype=running_dtype(dtype))
    check_causal(module.architecture)
    tokenizer = tokenizer_of(path)
    prompt = tokenizer.encode(text)
    if not prompt:
        raise InputError("text", found="has no tokens", expected="some text to continue")
    ends = tuple(dict.fromkeys((*settings.stop_tokens, *tokenizer.end_tokens)))
    decode = tokenizer.decoder(prompt)
    parts: list[str] = []

    def take(row: int, token: int) -> None:
        part = decode(token)
        parts.append(part)
        if part and on_text is not None:
            on_text(part)

    found = generate_tokens(
        module,
        params,
        [prompt],
        msgspec.structs.replace(settings, stop_tokens=ends),
        on_token=take,
    )
    return TextGeneration(
        target=path,
        prompt=text,
        text="".join(parts),
        tokens=found.tokens[0],
        prompt_tokens=found.prompt_tokens,
        stopped=found.stopped[0],
        prefill_seconds=found.prefill_seconds,
        decode_seconds=found.decode_seconds,
        decode_tokens_per_second=found.steps / found.decode_seconds if found.steps else 0.0,
        cache_bytes=found.cache_bytes,
    )
