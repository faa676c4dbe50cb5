"""Which topics there are, and which words people use for each."""

import difflib

from explorer.errors import InputError, printable

__all__ = ["TOPICS", "find_topic", "is_word", "nearest_word"]

# in the order in which they build on each other; with the other words for each
TOPICS: dict[str, tuple[str, ...]] = {
    "tensor": ("array", "shelf", "shape", "dimension", "matrix", "vector", "autodiff", "buffer", "state"),
    "parameter": ("param", "size", "count", "billion", "8b", "dial", "lever", "scale", "brain cell"),
    "weight": ("connection", "kernel", "coefficient", "strength", "neuron", "activation", "layer"),
    "bias": ("biase", "offset", "intercept", "shift"),
    "embedding": ("token", "vocabulary", "vocab", "word vector", "embed"),
    "hyperparameter": (
        "hyperparam", "hyper-parameter", "config", "setting", "context", "context window", "width",
        "depth", "head", "batch size", "learning rate",
    ),
    "learning": (
        "training", "train", "learn", "loss", "gradient", "gradient descent", "backpropagation",
        "backprop", "forward pass", "optimizer", "optimiser", "adam", "sgd", "fine-tuning",
        "initialisation", "initialization", "update", "epoch",
    ),
    "quantisation": (
        "quantization", "quantise", "quantize", "quant", "precision", "bit", "4-bit", "dtype", "float16",
        "bfloat16", "float32",
    ),
    "pruning": ("prune", "sparsity", "sparse"),
    "mixture of experts": ("moe", "expert", "mixture", "router", "active", "active parameter", "experts"),
    "LoRA": ("lora", "qlora", "adapter", "peft", "lora/qlora", "low-rank", "dora"),
    "memory": ("ram", "vram", "byte", "gb", "fit", "laptop", "gpu", "hardware", "cache", "kv cache"),
    "speed": ("latency", "throughput", "inference", "flop", "fast", "response time", "compute"),
    "cost": ("price", "energy", "power", "dollar", "money"),
}  # fmt: skip


def find_topic(word: str) -> str:
    """Return the topic that a word belongs to.

    Raises:
        InputError: an unknown word; the nearest one is named.

    >>> find_topic("MoE"), find_topic("Weights"), find_topic("quantization")
    ('mixture of experts', 'weight', 'quantisation')
    """
    found = _known(word)
    if found is not None:
        return found
    near = nearest_word(word)
    raise InputError(
        printable(word, 60),
        found="is not a word that is explained",
        expected=f"one of {', '.join(TOPICS)}",
        cure=f"did you mean {near}?" if near else "",
    )


def nearest_word(word: str) -> str:
    """Return the word with a topic that a mistyped one is nearest to; "" where none is near.

    >>> nearest_word("grdient"), nearest_word("gpt2")
    ('gradient', '')
    """
    near = difflib.get_close_matches(_plain(word)[:60], _WORDS, 1, 0.75)
    return near[0] if near else ""


def is_word(word: str) -> bool:
    """Return whether a word has a topic.

    >>> is_word("biases"), is_word("gpt2")
    (True, False)
    """
    return _known(word) is not None


_WORDS = {other: topic for topic, others in TOPICS.items() for other in (topic, *others)}


def _known(word: str) -> str | None:
    plain = _plain(word)
    one = plain if plain.endswith("ss") else plain.removesuffix("s")
    return _WORDS.get(plain) or _WORDS.get(one)


def _plain(word: str) -> str:
    return " ".join(str(word).replace("_", " ").casefold().split())
