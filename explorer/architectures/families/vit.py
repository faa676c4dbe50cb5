"""Vision transformers (Dosovitskiy et al. 2021)."""

from collections.abc import Iterable
from typing import Any

from explorer.architectures.architecture import Architecture, BlockSpec, stages_of
from explorer.architectures.checkpoint_names import (
    CheckpointNames,
    layer_norm_rows,
    linear_rows,
    row,
)
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, reading
from explorer.architectures.specs import EmbeddingSpec, LinearSpec, PatchesSpec, TokenSpec
from explorer.architectures.tensor_layout import TensorLayout

__all__ = ["BatchOfOne", "checkpoint_names", "translate"]

Shape = tuple[int, ...]
_CLASSIFIER = "ViTForImageClassification"
# [patch, patch, channels, size] -> [size, channels, patch, patch]
_CONVOLUTION = TensorLayout(axes=(3, 2, 0, 1))


class BatchOfOne(TensorLayout, frozen=True):
    """One leaf, stored with a leading axis of size 1."""

    def shape(self, shapes: Iterable[Shape]) -> Shape:
        """Return the stored shape of a leaf of this shape."""
        return (1, *super().shape(shapes))

    def store(self, leaves: list[Any]) -> Any:
        """Return the stored tensor that holds this leaf."""
        return super().store(leaves)[None]

    def leaves(self, stored: Any, shapes: list[Shape]) -> list[Any]:
        """Return the leaf of these shapes that a stored tensor holds."""
        return super().leaves(stored[0], shapes)


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a vit config."""
    class_name = reading.class_of(fields, "ViTModel", _CLASSIFIER)
    reading.require_even_heads(fields)
    size = fields.size("hidden_size")
    norm = building.layer_norm(size, fields.number("layer_norm_eps", default=1e-12))
    block = BlockSpec(
        attention_norm=norm,
        attention=building.grouped_attention(
            size,
            reading.equal_heads(fields),
            bias=fields.flag("qkv_bias", default=True),
            out_bias=True,
            causal=False,
        ),
        mlp_norm=norm,
        mlp=building.plain_mlp(
            size,
            fields.size("intermediate_size"),
            reading.activation_of(fields, "hidden_act", default="gelu"),
        ),
    )
    patches = _patches(fields, size)
    classifies = class_name == _CLASSIFIER
    return Architecture(
        family=model_type,
        class_name=class_name,
        size=size,
        patch_embed=patches,
        cls_token=TokenSpec(size),
        position_embed=EmbeddingSpec(patches.count + 1, size),
        stages=stages_of([block] * fields.layers("num_hidden_layers")),
        final_norm=norm,
        pooler=None if classifies else _pooler(fields, size),
        classifier=LinearSpec(size, reading.labels_of(fields), True)
        if classifies
        else None,
        dtype=reading.dtype_of(fields),
    )


def _patches(fields: ConfigFields, size: int) -> PatchesSpec:
    patch, image = fields.size("patch_size"), fields.size("image_size")
    fields.divides("patch_size", patch, "image_size", image)
    return PatchesSpec(patch, fields.size("num_channels", default=3), size, image)


def _pooler(fields: ConfigFields, size: int) -> LinearSpec:
    if fields.content.get("pooler_act") not in (None, "tanh"):
        fields.not_built("pooler_act", "tanh")
    return LinearSpec(size, fields.size("pooler_output_size", default=size), True)


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of vision transformers' checkpoints."""
    patches = "vit.embeddings.patch_embeddings.projection"
    positions = "vit.embeddings.position_embeddings"
    return CheckpointNames(
        base_prefix="vit.",
        layer_prefix="vit.encoder.layer.{i}.",
        top_level=(
            row("vit.embeddings.cls_token", "cls_token/embedding"),
            row(positions, "position_embed/embedding", layout=BatchOfOne()),
            row(f"{patches}.weight", "patch_embed/kernel", layout=_CONVOLUTION),
            row(f"{patches}.bias", "patch_embed/bias"),
            *layer_norm_rows("vit.layernorm", "final_norm"),
            *linear_rows("vit.pooler.dense", "pooler"),
            *linear_rows("classifier", "classifier"),
        ),
        layers=(
            *layer_norm_rows("layernorm_before", "attention_norm"),
            *linear_rows("attention.attention.query", "attention/query"),
            *linear_rows("attention.attention.key", "attention/key"),
            *linear_rows("attention.attention.value", "attention/value"),
            *linear_rows("attention.output.dense", "attention/out"),
            *layer_norm_rows("layernorm_after", "mlp_norm"),
            *linear_rows("intermediate.dense", "mlp/up_proj"),
            *linear_rows("output.dense", "mlp/down_proj"),
        ),
    )
