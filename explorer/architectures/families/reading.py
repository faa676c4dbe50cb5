"""Settings that several families read from a config in the same way."""

from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.specs import Activation
from explorer.errors import printable

__all__ = [
    "EMBED",
    "HEADS",
    "LAYERS",
    "activation_of",
    "class_of",
    "dtype_of",
    "equal_heads",
    "heads_of",
    "labels_of",
    "reject",
    "require_even_heads",
    "windows_by_period",
    "windows_of",
]

# GPT-2's and GPT-J's names of fields, each before the one that other families have
EMBED = ("n_embd", "hidden_size")
HEADS = ("n_head", "num_attention_heads")
LAYERS = ("n_layer", "num_hidden_layers")
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
# activations without parameters that the Flax modules lack; "prelu" and "xielu" have some
_COUNTED_ACTIVATIONS = frozenset(
    [
        "gelu_10",
        "gelu_python_tanh",
        "hardswish",
        "laplace",
        "leaky_relu",
        "mish",
        "relu2",
        "relu6",
        "sqrtsoftplus",
    ]
)
# classes of transformers that hold more than is counted
_LARGER_CLASSES = frozenset(
    [
        "GPT2DoubleHeadsModel",
        "ViTForMaskedImageModeling",
        "Gemma3ForConditionalGeneration",
        "Gemma3Model",
        "Gemma3ForSequenceClassification",
    ]
)
_BUILT_KINDS = ("full_attention", "sliding_attention")
_DTYPES = (
    "float32",
    "float16",
    "bfloat16",
    "float64",
    "float8_e4m3fn",
    "float8_e5m2",
)
_SHORT_DTYPES = {"float": "float32", "half": "float16", "double": "float64"}


def activation_of(fields: ConfigFields, *names: str, default: str = "silu") -> Activation:
    """Return the activation that a config names."""
    for name in names:
        value = fields.content.get(name)
        if isinstance(value, str) and value in _COUNTED_ACTIVATIONS:
            fields.not_built(name, "gelu, silu, relu and others")
            return "gelu"
    return fields.choice(_ACTIVATIONS, *names, default=default)


def dtype_of(fields: ConfigFields) -> str:
    """Return the dtype of the published weights; float32 if the config does not specify it."""
    allowed = {name: name for name in _DTYPES} | _SHORT_DTYPES
    allowed |= {f"torch.{name}": dtype for name, dtype in allowed.items()}
    return fields.choice(allowed, "torch_dtype", "dtype", default="float32")


def class_of(fields: ConfigFields, *allowed: str) -> str:
    """Return the class that a config was saved from; the first allowed if unspecified.

    A class from elsewhere is counted as the allowed one of its kind, which is an assumption.
    """
    named = fields.content.get("architectures")
    if named in (None, [], ()):
        return allowed[0]
    found = named[0] if isinstance(named, list | tuple) else None
    if found in allowed:
        return found
    spelled = {_spelling(each): each for each in allowed}
    if isinstance(found, str) and _spelling(found) in spelled:
        return spelled[_spelling(found)]
    if not isinstance(found, str) or not found.isidentifier() or found in _LARGER_CLASSES:
        raise fields.invalid(
            "architectures",
            f"one of {', '.join(allowed)}",
            cure=f"without it {allowed[0]} is built",
        )
    stand_in = next((each for each in allowed if _kind(each) == _kind(found)), allowed[0])
    fields.assume(
        f"{printable(found, 60)} is not one of the {fields.content['model_type']} classes: "
        f"counted as {stand_in}, its own code may differ"
    )
    return stand_in


def _spelling(class_name: str) -> str:
    """Return a class's name without TensorFlow's or Flax's prefix, in one case."""
    return class_name.removeprefix("TF").removeprefix("Flax").lower()


def _kind(class_name: str) -> str:
    """Return what a class is for, by the end of its name."""
    _, is_for, purpose = class_name.rpartition("For")
    return purpose if is_for else class_name[-len("LMHeadModel") :].removeprefix("LMHead")


def heads_of(
    fields: ConfigFields,
    kv_default: int | None = None,
    size_default: int | None = None,
    read_size: bool = True,
) -> tuple[int, int, int]:
    """Return the number of query heads, of key-value heads, and the size of a head.

    `kv_default` and `size_default` apply if the config lacks the field. A null field, or a
    default of None, means as many key-value heads as query heads, and hidden_size divided
    by the number of heads. `read_size` is false where the reference does not read head_dim.
    """
    size = fields.size("hidden_size")
    heads = fields.size("num_attention_heads")
    if "num_key_value_heads" in fields.content or kv_default is None:
        kv_default = heads
    kv_heads = fields.size("num_key_value_heads", default=kv_default)
    fields.divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)
    head_size = None
    if read_size:
        unset = None if "head_dim" in fields.content else size_default
        head_size = fields.size("head_dim", default=unset)
    if head_size is None:
        head_size = fields.divides("num_attention_heads", heads, "hidden_size", size)
    return heads, kv_heads, head_size


def require_even_heads(fields: ConfigFields) -> None:
    """Raise if the heads do not share hidden_size out evenly, as releases then disagree."""
    size, heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    even = fields.divides("num_attention_heads", heads, "hidden_size", size)
    if fields.size("head_dim", default=even) != even:
        raise fields.invalid("head_dim", f"{even}, hidden_size / num_attention_heads")


def equal_heads(
    fields: ConfigFields,
    size: tuple[str, ...] = ("hidden_size",),
    heads: tuple[str, ...] = ("num_attention_heads",),
) -> tuple[int, int, int]:
    """Return the number of query heads, the same number of key-value heads, and a head's size.

    Args:
        fields: those of the config.
        size: the names of the hidden size, divided evenly among the heads.
        heads: the names of the number of heads.
    """
    number = fields.shared_size(*heads)
    each = fields.divides(heads[0], number, size[0], fields.shared_size(*size))
    return number, number, each


def labels_of(fields: ConfigFields) -> int:
    """Return a classifier's number of labels: those named, else num_labels, else 2."""
    named = fields.nested("id2label")
    if named is None:
        return fields.size("num_labels", default=2)
    if not named.content:
        raise fields.invalid("id2label", "a name for each label")
    number = len(named.content)
    given = fields.size("num_labels", default=number)
    if given != number:
        fields.assume(
            f"a classifier of the {number} labels of id2label, as in transformers 4; num_labels "
            f"is {given}, which 5 reads"
        )
    return number


def reject(fields: ConfigFields, *names: str) -> None:
    """Raise if one of these options is on: they change what is counted."""
    for name in names:
        if fields.flag(name, default=False):
            raise fields.invalid(name, "false")


def windows_of(
    fields: ConfigFields, layers: int, window: int | None
) -> list[int | None] | None:
    """Return each layer's window according to `layer_types`; None if the config has none."""
    kinds = fields.words((*_BUILT_KINDS, "chunked_attention"), layers, "layer_types")
    if kinds is None:
        return None
    if not set(kinds).issubset(_BUILT_KINDS):
        fields.remarks.unbuilt.append("layer_types has chunked_attention")
    if window is None and "sliding_attention" in kinds:
        fields.not_built("sliding_window", "an int beside layer_types")
    return [window if kind == "sliding_attention" else None for kind in kinds]


def windows_by_period(
    fields: ConfigFields, layers: int, window: int | None, period: int
) -> list[int | None]:
    """Return each layer's window; without `layer_types`, each `period`th layer has none."""
    windows = windows_of(fields, layers, window)
    if windows is not None:
        return windows
    if window is None and period > 1:
        fields.not_built("sliding_window", "an int")
    return [window if (index + 1) % period else None for index in range(layers)]
