"""Settings that several families read from a config in the same way."""

from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.specs import Activation

__all__ = [
    "activation_of",
    "class_of",
    "dtype_of",
    "equal_heads",
    "heads_of",
    "labels_of",
    "reject",
    "windows_by_period",
    "windows_of",
]

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "linear": "identity",
}
_DTYPES = ("float32", "float16", "bfloat16", "float64")


def activation_of(fields: ConfigFields, *names: str, default: str = "silu") -> Activation:
    """Return the activation that a config names."""
    return fields.choice(_ACTIVATIONS, *names, default=default)


def dtype_of(fields: ConfigFields) -> str:
    """Return the dtype of the published weights; float32 if the config does not specify it."""
    allowed = {name: name for name in _DTYPES} | {f"torch.{name}": name for name in _DTYPES}
    return fields.choice(allowed, "torch_dtype", "dtype", default="float32")


def class_of(fields: ConfigFields, *allowed: str) -> str:
    """Return the class that a config was saved from; the first allowed if unspecified."""
    named = fields.content.get("architectures")
    if named in (None, [], ()):
        return allowed[0]
    if not isinstance(named, list | tuple) or named[0] not in allowed:
        raise fields.invalid(
            "architectures",
            f"one of {', '.join(allowed)}",
            cure=f"without it {allowed[0]} is built",
        )
    return named[0]


def heads_of(
    fields: ConfigFields, kv_default: int | None = None, size_default: int | None = None
) -> tuple[int, int, int]:
    """Return the number of query heads, of key-value heads, and the size of a head.

    `kv_default` and `size_default` apply if the config lacks the field. A null field, or a
    default of None, means as many key-value heads as query heads, and hidden_size divided
    by the number of heads.
    """
    size = fields.size("hidden_size")
    heads = fields.size("num_attention_heads")
    if "num_key_value_heads" in fields.content or kv_default is None:
        kv_default = heads
    kv_heads = fields.size("num_key_value_heads", default=kv_default)
    fields.divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)
    if "head_dim" in fields.content:
        size_default = None
    head_size = fields.size("head_dim", default=size_default)
    if head_size is None:
        head_size = fields.divides("num_attention_heads", heads, "hidden_size", size)
    return heads, kv_heads, head_size


def equal_heads(
    fields: ConfigFields, size: str = "hidden_size", heads: str = "num_attention_heads"
) -> tuple[int, int, int]:
    """Return the number of query heads, the same number of key-value heads, and a head's size.

    Args:
        fields: those of the config.
        size: the field of the hidden size, divided evenly among the heads.
        heads: the field of the number of heads.
    """
    number = fields.size(heads)
    return number, number, fields.divides(heads, number, size, fields.size(size))


def labels_of(fields: ConfigFields) -> int:
    """Return a classifier's number of labels: those named, else num_labels, else 2."""
    named = fields.nested("id2label")
    if named is None:
        return fields.size("num_labels", default=2)
    if not named.content:
        raise fields.invalid("id2label", "a name for each label")
    return len(named.content)


def reject(fields: ConfigFields, *names: str) -> None:
    """Raise if one of these options is on: they add layers that are not supported."""
    for name in names:
        if fields.flag(name, default=False):
            raise fields.invalid(name, "false")


def windows_of(
    fields: ConfigFields, layers: int, window: int | None
) -> list[int | None] | None:
    """Return each layer's window according to `layer_types`; None if the config has none."""
    kinds = fields.words(("full_attention", "sliding_attention"), layers, "layer_types")
    if kinds is None:
        return None
    if window is None and "sliding_attention" in kinds:
        raise fields.error(
            found="sliding_window is missing", expected="it beside layer_types"
        )
    return [window if kind == "sliding_attention" else None for kind in kinds]


def windows_by_period(
    fields: ConfigFields, layers: int, window: int | None, period: int
) -> list[int | None]:
    """Return each layer's window; without `layer_types`, each `period`th layer has none."""
    windows = windows_of(fields, layers, window)
    if windows is not None:
        return windows
    if window is None and period > 1:
        raise fields.error(found="sliding_window is missing", expected="an int")
    return [window if (index + 1) % period else None for index in range(layers)]
