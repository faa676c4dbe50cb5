"""Vision transformers (Dosovitskiy et al. 2021)."""

from collections.abc import Iterable
from typing import Any

from explorer.architectures.architecture import Architecture, Block, stages_of
from explorer.architectures.families.classic import (
    equal_heads,
    labels_of,
    layer_norm,
    layer_norm_rows,
    plain_mlp,
)
from explorer.architectures.families.parts import (
    activation_of,
    class_of,
    dtype_of,
    grouped_attention,
)
from explorer.architectures.fields import Fields
from explorer.architectures.names import Form, Names, linear, row
from explorer.architectures.specs import Embedding, Linear, Patches, Token

__all__ = ["Batched", "names", "translate"]

Shape = tuple[int, ...]
_CLASSIFIER = "ViTForImageClassification"
# [patch, patch, channels, size] -> [size, channels, patch, patch]
_CONVOLUTION = Form(axes=(3, 2, 0, 1))


class Batched(Form, frozen=True):
    """One leaf, stored as a batch of one."""

    def shape(self, shapes: Iterable[Shape]) -> Shape:
        """Return the stored shape of a leaf of this shape."""
        return (1, *super().shape(shapes))

    def store(self, leaves: list[Any]) -> Any:
        """Return the stored tensor that holds this leaf."""
        return super().store(leaves)[None]

    def leaves(self, stored: Any, shapes: list[Shape]) -> list[Any]:
        """Return the leaf of this shape that a stored tensor holds."""
        return super().leaves(stored[0], shapes)


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a vit config."""
    class_name = class_of(fields, "ViTModel", _CLASSIFIER)
    size = fields.size("hidden_size")
    norm = layer_norm(size, fields.number("layer_norm_eps", default=1e-12))
    block = Block(
        attention_norm=norm,
        attention=grouped_attention(
            size,
            equal_heads(fields),
            bias=fields.flag("qkv_bias", default=True),
            out_bias=True,
            causal=False,
        ),
        mlp_norm=norm,
        mlp=plain_mlp(
            size,
            fields.size("intermediate_size"),
            activation_of(fields, "hidden_act", default="gelu"),
        ),
    )
    patches = _patches(fields, size)
    classifies = class_name == _CLASSIFIER
    return Architecture(
        family=model_type,
        class_name=class_name,
        size=size,
        patch_embed=patches,
        cls_token=Token(size),
        position_embed=Embedding(patches.count + 1, size),
        stages=stages_of([block] * fields.layers("num_hidden_layers")),
        final_norm=norm,
        pooler=None if classifies else _pooler(fields, size),
        classifier=Linear(size, labels_of(fields), True) if classifies else None,
        dtype=dtype_of(fields),
    )


def _patches(fields: Fields, size: int) -> Patches:
    patch, image = fields.size("patch_size"), fields.size("image_size")
    fields.divides("patch_size", patch, "image_size", image)
    return Patches(patch, fields.size("num_channels", default=3), size, image)


def _pooler(fields: Fields, size: int) -> Linear:
    fields.choice({"tanh": "tanh"}, "pooler_act", default="tanh")
    return Linear(size, fields.size("pooler_output_size", default=size), True)


def names(architecture: Architecture) -> Names:
    """Return how checkpoints of vision transformers name their tensors."""
    patches = "vit.embeddings.patch_embeddings.projection"
    positions = "vit.embeddings.position_embeddings"
    return Names(
        base="vit.",
        layer="vit.encoder.layer.{i}.",
        whole=(
            row("vit.embeddings.cls_token", "cls_token/embedding"),
            row(positions, "position_embed/embedding", form=Batched()),
            row(f"{patches}.weight", "patch_embed/kernel", form=_CONVOLUTION),
            row(f"{patches}.bias", "patch_embed/bias"),
            *layer_norm_rows("vit.layernorm", "final_norm"),
            *linear("vit.pooler.dense", "pooler"),
            *linear("classifier", "classifier"),
        ),
        layers=(
            *layer_norm_rows("layernorm_before", "attention_norm"),
            *linear("attention.attention.query", "attention/query"),
            *linear("attention.attention.key", "attention/key"),
            *linear("attention.attention.value", "attention/value"),
            *linear("attention.output.dense", "attention/out"),
            *layer_norm_rows("layernorm_after", "mlp_norm"),
            *linear("intermediate.dense", "mlp/up_proj"),
            *linear("output.dense", "mlp/down_proj"),
        ),
    )
