"""What the families from before LLaMA share: LayerNorms, biases, plain feed-forward."""

from explorer.architectures.fields import Fields
from explorer.architectures.names import Row, row
from explorer.architectures.specs import Activation, Linear, Mlp, Norm

__all__ = [
    "equal_heads",
    "labels_of",
    "layer_norm",
    "layer_norm_rows",
    "plain_mlp",
    "refuse",
]


def equal_heads(
    fields: Fields, size: str = "hidden_size", heads: str = "num_attention_heads"
) -> tuple[int, int, int]:
    """Return query heads, as many key-value heads, and the entries of one.

    Args:
        fields: of the config.
        size: the field of the stream's size, which the heads share evenly.
        heads: the field of their number.
    """
    number = fields.size(heads)
    return number, number, fields.divides(heads, number, size, fields.size(size))


def layer_norm(size: int, eps: float) -> Norm:
    """Return a LayerNorm that learns a gain and a bias."""
    return Norm(size, eps, "layer", bias=True)


def plain_mlp(size: int, inner: int, activation: Activation, bias: bool = True) -> Mlp:
    """Return the feed-forward network of the first transformers: down(act(up x))."""
    return Mlp(
        up_proj=Linear(size, inner, bias),
        down_proj=Linear(inner, size, bias),
        activation=activation,
    )


def labels_of(fields: Fields) -> int:
    """Return how many labels a classifier tells apart: those named, or num_labels, or 2."""
    named = fields.inner("id2label")
    if named is None:
        return fields.size("num_labels", default=2)
    if not named.content:
        raise fields.wrong("id2label", "a name for each label")
    return len(named.content)


def refuse(fields: Fields, *names: str) -> None:
    """Raise where one of these options is on: each adds layers that are not built."""
    for name in names:
        if fields.flag(name, default=False):
            raise fields.wrong(name, "false")


def layer_norm_rows(stored: str, flax: str) -> tuple[Row, Row]:
    """Return the rows of a PyTorch LayerNorm.

    >>> [each.leaves for each in layer_norm_rows("ln_f", "final_norm")]
    [('final_norm/scale',), ('final_norm/bias',)]
    """
    return row(f"{stored}.weight", f"{flax}/scale"), row(f"{stored}.bias", f"{flax}/bias")
