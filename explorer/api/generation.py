"""Models that run: prompts and texts continued, scored, and turned into vectors."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from explorer.arguments import check_kinds
from explorer.targets import as_path

if TYPE_CHECKING:
    import numpy as np

    from explorer.generation.generate import Generation
    from explorer.generation.perplexity import TextEvaluation
    from explorer.generation.settings import GenerationSettings
    from explorer.generation.text import TextGeneration
    from explorer.tree.types import Params

__all__ = ["embed", "evaluate_text", "generate", "generate_text"]


def generate(
    module: Any,
    params: "Params",
    tokens: Any,
    settings: "GenerationSettings | None" = None,
    *,
    attention_mask: Any = None,
    on_token: Callable[[int, int], object] | None = None,
    **changes: Any,
) -> "Generation":
    """Return the continuations of prompts, computed with a cache of keys and values.

    Each row is continued as it would be alone: prompts may have unequal lengths, with padding on
    either side where `attention_mask` says so. Lengths are padded to a few sizes, so that a prompt
    of another length compiles nothing anew; nor do other numbers in the settings.

    Args:
        module: of `build_model` or `load_pretrained`, in either layout.
        params: its "params", sharded or not; quantised leaves are dequantised as they are used.
        tokens: ids [batch, length] or [length], or a list of lists of unequal lengths.
        settings: how tokens are chosen; None for the likeliest, 128 at most.
        attention_mask: [batch, length], 0 for padding.
        on_token: called with a row's number and its next token, as they come.
        **changes: of the settings by name: max_new_tokens, temperature, top_k, top_p, min_p,
            repetition_penalty, stop_tokens, seed, cache_dtype.

    Raises:
        InputError: an empty prompt, ids outside the vocabulary, sequences beyond the model's
            positions, a model that is not causal, or settings that make no sense.

    >>> import jax, jax.numpy as jnp
    >>> from explorer import build_model
    >>> config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
    ...           "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    >>> model = build_model(config)
    >>> params = model.init(jax.random.key(0), jnp.zeros((1, 4), int))["params"]
    >>> found = generate(model, params, [[5, 6, 7], [8]], max_new_tokens=4)
    >>> [len(row) for row in found.tokens], found.prompt_tokens, found.cache_bytes
    ([4, 4], 4, 32768)
    """
    from explorer.generation.generate import generate_tokens
    from explorer.generation.settings import checked

    check_kinds(("on_token", on_token, "a function or None"))
    return generate_tokens(
        module,
        params,
        tokens,
        checked(settings, changes),
        attention_mask=attention_mask,
        on_token=on_token,
    )


def generate_text(
    target: str | os.PathLike,
    text: str,
    settings: "GenerationSettings | None" = None,
    *,
    dtype: Any = None,
    on_text: Callable[[str], object] | None = None,
    **changes: Any,
) -> "TextGeneration":
    """Return what a checkpoint continues a text with, and how fast.

    Args:
        target: a folder with weights, config.json and tokenizer.json, or a GGUF file, whose own
            vocabulary is used.
        text: what to continue.
        settings: as for `generate`; the tokens that end the model's texts stop it too.
        dtype: of the weights and of the computation; None for float32 on a CPU, where 16 bits
            take longer, and elsewhere for that of the file.
        on_text: called with each piece of text as it comes.
        **changes: of the settings by name, as for `generate`.

    Raises:
        InputError: as `generate` and `load_pretrained`; also a tokenizer of an unknown kind.

    >>> generate_text("gpt2", "A shelf of", temperature=-1)
    Traceback (most recent call last):
    explorer.errors.InputError: temperature: is -1; expected 0 or more
    """
    from explorer.generation.settings import checked

    check_kinds(("on_text", on_text, "a function or None"))
    checked_settings = checked(settings, changes)
    from explorer.generation.text import continue_text

    return continue_text(
        as_path(target), text, checked_settings, dtype=dtype, on_text=on_text
    )


def evaluate_text(
    target: str | os.PathLike,
    text: str,
    *,
    length: int | None = None,
    stride: int | None = None,
    dtype: Any = None,
) -> "TextEvaluation":
    """Return the perplexity of a text, with the number of tokens that it is a mean of.

    Windows of `length` tokens begin `stride` tokens after each other, and each token is scored
    once, in the first window that holds it.

    Args:
        target: as for `generate_text`.
        text: two tokens or more.
        length: tokens of a window; None for 512, or the model's positions if they are fewer.
        stride: None for half of the length.
        dtype: of the weights and of the computation; None for float32 on a CPU, where 16 bits
            take longer, and elsewhere for that of the file.

    Raises:
        InputError: a text of fewer tokens, windows that make no sense, or as `generate_text`.

    >>> evaluate_text("no-such-folder", "A shelf of books.")
    Traceback (most recent call last):
    explorer.errors.TargetError: no-such-folder: is not a file or folder; expected a folder with \
config.json and weights, or a GGUF file; a name has no weights: download them, and give their folder
    """
    from explorer.generation.perplexity import text_evaluation

    return text_evaluation(as_path(target), text, length=length, stride=stride, dtype=dtype)


def embed(
    target: str | os.PathLike,
    texts: str | Sequence[str],
    *,
    pooling: str | None = None,
    normalise: bool | None = None,
    batch: int = 32,
    dtype: Any = None,
) -> "np.ndarray":
    """Return the vectors of texts, [texts, size] in float32; [size] of one text.

    A folder of sentence-transformers says how hidden states become a vector (modules.json).

    Args:
        target: a folder with weights, config.json and tokenizer.json.
        texts: one or several; what is beyond the model's longest sequence is left out.
        pooling: "mean", "cls", "max", "mean_sqrt_len" or "last"; None for that of the folder.
        normalise: whether vectors have length 1; None for what the folder says.
        batch: texts of one call.
        dtype: of the weights and of the computation; None for float32 on a CPU, where 16 bits
            take longer, and elsewhere for that of the file.

    Raises:
        InputError: no texts, an unknown pooling or none in the folder, or as `load_pretrained`.

    >>> embed("no-such-folder", "A shelf of books.", pooling="middle")
    Traceback (most recent call last):
    explorer.errors.InputError: pooling: is 'middle'; expected one of cls, max, mean, mean_sqrt_len, last
    """
    from explorer.generation.embedding import embed_texts

    check_kinds(
        ("pooling", pooling, "a str or None"),
        ("normalise", normalise, "True or False or None"),
    )
    return embed_texts(
        as_path(target),
        texts,
        pooling=pooling,
        normalise=normalise,
        batch=batch,
        dtype=dtype,
    )
