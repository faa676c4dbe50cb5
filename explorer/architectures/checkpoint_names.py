"""How a family's checkpoints name a model's tensors.

A row maps one stored tensor, or one per expert, to the leaves that it holds. Rows of a
layer are written once and apply to every layer.
"""

import msgspec

from explorer.architectures.tensor_layout import KEEP, TRANSPOSED, TensorLayout

__all__ = ["CheckpointNames", "NameRow", "layer_norm_rows", "linear_rows", "row"]


class NameRow(msgspec.Struct, frozen=True):
    """A stored name and the leaves it holds; "{e}" in the name stands for an expert.

    Leaves are paths joined by "/", relative to the layer in the rows of a layer.
    """

    stored: str
    leaves: tuple[str, ...]
    layout: TensorLayout = KEEP


def row(stored: str, *leaves: str, layout: TensorLayout = KEEP) -> NameRow:
    """Return a row.

    >>> row("ln_f.weight", "final_norm/scale").leaves
    ('final_norm/scale',)
    """
    return NameRow(stored, leaves, layout)


def linear_rows(stored: str, flax: str) -> tuple[NameRow, NameRow]:
    """Return the rows of a PyTorch linear layer [outputs, inputs] and its bias.

    >>> [each.leaves for each in linear_rows("lm_head", "lm_head")]
    [('lm_head/kernel',), ('lm_head/bias',)]
    """
    return (
        row(f"{stored}.weight", f"{flax}/kernel", layout=TRANSPOSED),
        row(f"{stored}.bias", f"{flax}/bias"),
    )


def layer_norm_rows(stored: str, flax: str) -> tuple[NameRow, NameRow]:
    """Return the rows of a PyTorch LayerNorm.

    >>> [each.leaves for each in layer_norm_rows("ln_f", "final_norm")]
    [('final_norm/scale',), ('final_norm/bias',)]
    """
    return row(f"{stored}.weight", f"{flax}/scale"), row(f"{stored}.bias", f"{flax}/bias")


class CheckpointNames(msgspec.Struct, frozen=True, kw_only=True):
    """The names of one family's checkpoints.

    `layer_prefix` is the prefix of a layer, "{i}" its number. `base_prefix` is the prefix
    of the body in a model with a head; a bare body omits it. Rows whose leaves a model
    lacks are skipped. Where two rows hold the same leaves, the first is written and either
    is read. `aliases` are further names of leaves (a tied head): optional, stored in the
    same layout, and required to hold the same values.
    """

    base_prefix: str
    layer_prefix: str
    top_level: tuple[NameRow, ...]
    layers: tuple[NameRow, ...]
    aliases: tuple[NameRow, ...] = ()
