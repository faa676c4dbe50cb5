"""What several families' configs say in the same words."""

from explorer.architectures.architecture import Architecture, Block, stages_of
from explorer.architectures.fields import Fields
from explorer.architectures.specs import (
    Activation,
    Attention,
    Embedding,
    Linear,
    Mlp,
    Norm,
    Router,
)

__all__ = [
    "activation_of",
    "class_of",
    "dtype_of",
    "gated_mlp",
    "grouped_attention",
    "heads_of",
    "language_model",
    "patterned_windows",
    "router_of",
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
_DTYPES = {"float32", "float16", "bfloat16", "float64"}
_MOST_EXPERTS = 1_000_000  # of all layers: each is several tensors of a checkpoint


def activation_of(fields: Fields, *names: str, default: str = "silu") -> Activation:
    """Return the activation that a config names."""
    return fields.choice(_ACTIVATIONS, *names, default=default)


def dtype_of(fields: Fields) -> str:
    """Return the format of the published weights; float32 where a config is silent."""
    formats = {name: name for name in _DTYPES} | {f"torch.{name}": name for name in _DTYPES}
    return fields.choice(formats, "torch_dtype", "dtype", default="float32")


def class_of(fields: Fields, *allowed: str) -> str:
    """Return the class that a config was saved from, the first allowed where it is silent."""
    named = fields.content.get("architectures")
    if named in (None, [], ()):
        return allowed[0]
    if not isinstance(named, list | tuple) or named[0] not in allowed:
        raise fields.wrong(
            "architectures",
            f"one of {', '.join(allowed)}",
            cure=f"without it {allowed[0]} is built",
        )
    return named[0]


def heads_of(
    fields: Fields, kv_default: int | None = None, each_default: int | None = None
) -> tuple[int, int, int]:
    """Return query heads, key-value heads and the entries of one.

    `kv_default` and `each_default` are the key-value heads and the entries of a config that
    does not speak of them. A null, and None here, mean as many key-value heads as queries,
    and entries that add up to the stream.
    """
    size = fields.size("hidden_size")
    heads = fields.size("num_attention_heads")
    if "num_key_value_heads" in fields.content or kv_default is None:
        kv_default = heads
    kv_heads = fields.size("num_key_value_heads", default=kv_default)
    fields.divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)
    if "head_dim" in fields.content:
        each_default = None
    given = fields.size("head_dim", default=each_default)
    if given is not None:
        return heads, kv_heads, given
    each = fields.divides("num_attention_heads", heads, "hidden_size", size)
    return heads, kv_heads, each


def grouped_attention(
    size: int,
    heads: tuple[int, int, int],
    *,
    bias: bool = False,
    out_bias: bool | None = None,
    **rest: object,
) -> Attention:
    """Return attention of (query heads, key-value heads, entries of one) on a stream.

    Args:
        size: of the stream.
        heads: as `heads_of` gives them.
        bias: of queries, keys and values; of the output too unless `out_bias` says.
        rest: further fields of Attention; `scale` is 1 / sqrt(entries) without.
    """
    number, kv_number, each = heads
    settings: dict[str, object] = {"scale": each**-0.5, **rest}
    return Attention(
        query=Linear(size, number * each, bias),
        key=Linear(size, kv_number * each, bias),
        value=Linear(size, kv_number * each, bias),
        out=Linear(number * each, size, bias if out_bias is None else out_bias),
        heads=number,
        kv_heads=kv_number,
        head_size=each,
        **settings,  # pyright: ignore[reportArgumentType]
    )


def gated_mlp(
    size: int, inner: int, activation: Activation, bias: bool = False, stack: int = 0
) -> Mlp:
    """Return the feed-forward network of LLaMA: down(act(gate x) * up x).

    `stack` of them side by side, one an expert, where not 0.
    """
    return Mlp(
        gate_proj=Linear(size, inner, bias, stack),
        up_proj=Linear(size, inner, bias, stack),
        down_proj=Linear(inner, size, bias, stack),
        activation=activation,
    )


def router_of(fields: Fields, *names: str, **rest: object) -> Router:
    """Return the router of a mixture of experts.

    Args:
        fields: with hidden_size, num_hidden_layers and num_experts_per_tok.
        names: of the field that says how many experts there are.
        rest: further fields of Router.
    """
    experts = fields.size(*names, most=_MOST_EXPERTS // fields.layers("num_hidden_layers"))
    per_token = fields.size("num_experts_per_tok", "experts_per_token")
    if per_token > experts:
        raise fields.error(
            found=f"num_experts_per_tok {per_token} is above {names[0]} {experts}",
            expected=f"1 to {experts}",
        )
    return Router(
        size=fields.size("hidden_size"),
        experts=experts,
        per_token=per_token,
        **rest,  # pyright: ignore[reportArgumentType]
    )


def windows_of(fields: Fields, layers: int, window: int | None) -> list[int | None] | None:
    """Return each layer's window by `layer_types`; None where a config has none."""
    kinds = fields.words(("full_attention", "sliding_attention"), layers, "layer_types")
    if kinds is None:
        return None
    if window is None and "sliding_attention" in kinds:
        raise fields.error(
            found="sliding_window is missing", expected="it beside layer_types"
        )
    return [window if kind == "sliding_attention" else None for kind in kinds]


def patterned_windows(
    fields: Fields, layers: int, window: int | None, period: int
) -> list[int | None]:
    """Return each layer's window; without `layer_types`, each `period`th sees all."""
    kinds = windows_of(fields, layers, window)
    if kinds is not None:
        return kinds
    if window is None and period > 1:
        raise fields.error(found="sliding_window is missing", expected="an int")
    return [window if (index + 1) % period else None for index in range(layers)]


def language_model(
    fields: Fields,
    family: str,
    class_name: str,
    blocks: list[Block],
    norm: Norm,
    **rest: object,
) -> Architecture:
    """Return a decoder: an embedding, blocks, a last norm and, for a class with one, a head.

    Args:
        fields: with hidden_size, vocab_size and tie_word_embeddings.
        family: model_type.
        class_name: a class ending in "Model" has no head.
        blocks: one a layer.
        norm: the last one.
        rest: further fields of Architecture, and `tied`, the default of tie_word_embeddings.
    """
    size, words = fields.size("hidden_size", "n_embd"), fields.size("vocab_size")
    tied = fields.flag("tie_word_embeddings", default=rest.pop("tied", False))
    headless = class_name.endswith("Model") and not class_name.endswith("LMHeadModel")
    head_bias = rest.pop("head_bias", False)
    lm_head = None if headless or tied else Linear(size, words, bool(head_bias))
    return Architecture(
        family=family,
        class_name=class_name,
        size=size,
        embed=Embedding(words, size),
        stages=stages_of(blocks),
        final_norm=norm,
        lm_head=lm_head,
        tied=tied and not headless,
        dtype=dtype_of(fields),
        **rest,  # pyright: ignore[reportArgumentType]
    )
