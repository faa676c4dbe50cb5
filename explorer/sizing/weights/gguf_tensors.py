"""An architecture -> the tensors of the GGUF file that llama.cpp's converters make of it.

References:
    conversion/base.py, deepseek.py, gpt2.py, gpt_neox.py, phi.py and llama.py,
    github.com/ggml-org/llama.cpp (2026).
"""

from collections.abc import Iterator
from typing import NamedTuple

from explorer.architectures.architecture import Architecture
from explorer.architectures.attention_specs import LatentAttentionSpec
from explorer.architectures.gguf_names import gguf_names
from explorer.architectures.stored_tensors import StoredTensor, iter_stored
from explorer.errors import InputError
from explorer.sizing.weights.gguf_mixes import MixFacts

__all__ = ["GgufTensor", "gguf_tensors", "is_quantised", "mix_facts", "stored_in_gguf"]

# families that llama.cpp has no converter for
_UNKNOWN = frozenset({"gptj", "opt", "vit"})
# whose converters keep queries, keys and values in one tensor
_JOINED = frozenset({"gpt2", "gpt_neox", "phi3"})
_PLAIN = ("ffn_gate_inp.weight", "position_embd.weight", "token_types.weight")
_70B_LAYERS = 80


class GgufTensor(NamedTuple):
    """A tensor of a GGUF file; its leaves are those of explorer's own modules.

    >>> GgufTensor("output.weight", (32000, 4096), (("lm_head", "kernel"),)).shape[-1]
    4096
    """

    name: str
    shape: tuple[int, ...]
    leaves: tuple[tuple[str, ...], ...]


class _Joined:
    """The names of tensors that hold queries, keys and values together."""

    def __contains__(self, name: object) -> bool:
        return "attn_qkv." in str(name)


def gguf_tensors(architecture: Architecture) -> list[GgufTensor]:
    """Return the tensors of an architecture's file, layer by layer.

    Raises:
        InputError: llama.cpp does not have the architecture.

    >>> from explorer.architectures.resolve import resolve
    >>> [t.name for t in gguf_tensors(resolve("gpt2").architecture)][4]
    'blk.0.attn_qkv.weight'
    """
    if architecture.family in _UNKNOWN:
        raise InputError(
            "quantize",
            found=f"llama.cpp has no {architecture.family}",
            expected="a scheme for any model, such as nf4 or int4:g128",
        )
    blocks = list(architecture.blocks())
    split = blocks and isinstance(blocks[0].attention, LatentAttentionSpec)
    found = [
        tensor
        for name, each in stored_in_gguf(architecture)
        for tensor in (
            _halves(blocks[0].attention, name, each) if split else [_plain(name, each)]
        )
    ]
    return [*found, *_factors(architecture)]


def stored_in_gguf(architecture: Architecture) -> Iterator[tuple[str, StoredTensor]]:
    """Yield the tensors that hold an architecture's own leaves; latent attention's undivided."""
    joined = _Joined() if architecture.family in _JOINED else None
    return iter_stored(architecture, gguf_names(architecture), present=joined)


def _plain(name: str, stored: StoredTensor) -> GgufTensor:
    return GgufTensor(name, stored.shape, stored.leaves)


def _halves(latent: object, name: str, stored: StoredTensor) -> Iterator[GgufTensor]:
    """Yield a tensor; of latent attention's `attn_kv_b`, keys and values separately."""
    if not name.endswith("attn_kv_b.weight") or not isinstance(latent, LatentAttentionSpec):
        yield _plain(name, stored)
        return
    heads, size = latent.heads, stored.shape[-1]
    front = name.removesuffix("kv_b.weight")
    yield GgufTensor(f"{front}k_b.weight", (heads, size, latent.nope), stored.leaves)
    yield GgufTensor(f"{front}v_b.weight", (heads, latent.value_size, size), stored.leaves)


def _factors(architecture: Architecture) -> Iterator[GgufTensor]:
    """Yield the rotary factors that some models store as tensors."""
    for stage in architecture.stages[:1]:
        rope = stage.blocks[0].attention.rope
        if rope is None or rope.scaling is None:
            return
        if rope.scaling.kind == "llama3":
            yield GgufTensor("rope_freqs.weight", (rope.size // 2,), ())
        elif rope.scaling.kind == "longrope":
            for which in ("long", "short"):
                yield GgufTensor(f"rope_factors_{which}.weight", (rope.size // 2,), ())


def is_quantised(tensor: GgufTensor) -> bool:
    """Return whether llama-quantize changes a tensor: a matrix other than norms, routers and tables
    of positions or types.

    >>> is_quantised(GgufTensor("blk.0.ffn_gate_inp.weight", (8, 4096), ()))
    False
    """
    dims = len(tensor.shape)
    while dims > 1 and tensor.shape[len(tensor.shape) - dims] == 1:
        dims -= 1  # ggml does not count leading dimensions of 1
    if dims < 2 or not tensor.name.endswith("weight"):
        return False
    return not tensor.name.endswith((*_PLAIN, "_norm.weight"))


def mix_facts(architecture: Architecture, importances: bool) -> MixFacts:
    """Return what the mixing rule asks about an architecture."""
    router = architecture.router
    heads = kv_heads = 1
    for stage in architecture.stages[:1]:
        attention = stage.blocks[0].attention
        heads = attention.heads
        # a converter writes latent attention as one head of keys
        kv_heads = 1 if isinstance(attention, LatentAttentionSpec) else attention.kv_heads
    family, layers = architecture.family, architecture.num_layers
    large = layers == _70B_LAYERS and router is None
    return MixFacts(
        layers=layers,
        experts=router.experts if router else 0,
        grouped=heads // kv_heads,
        is_70b=large
        and (family == "qwen2" or (family in ("llama", "mistral") and heads != kv_heads)),
        importances=importances,
    )
