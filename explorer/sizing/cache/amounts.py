"""What a cache takes in bytes: every kind of layers x the tokens that an engine has room for."""

from typing import NamedTuple

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture
from explorer.sizing.cache.engines import ENGINES, keeps_windows, sequences_of
from explorer.sizing.cache.kv_types import KvTypes, check_blocks, kv_types, state_types
from explorer.sizing.cache.layers import CachedLayers, CacheLayout, RecurrentLayers, kept_of
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Workload

__all__ = ["Amount", "amounts_of", "cache_bytes", "on_one_device", "plain", "state_bytes"]

ONE_DEVICE = Placement()


class Amount(NamedTuple):
    """The cache of one kind of layers.

    Attributes:
        kind: the layers.
        layers: how many are allocated; vllm's groups may pad them.
        tokens: that there is room for.
        token_bytes: what one layer keeps of a token.
    """

    kind: CachedLayers
    layers: int
    tokens: int
    token_bytes: int

    @property
    def bytes(self) -> int:
        """Bytes of all of its layers."""
        return self.layers * self.tokens * self.token_bytes


def plain(model: Architecture | CacheLayout, workload: Workload) -> CacheLayout:
    """Return what a model's layers keep, with latents expanded where a workload says so."""
    kept = model if isinstance(model, CacheLayout) else kept_of(model)
    if not workload.expand_latent:
        return kept
    return replace(kept, cached=tuple(kind.full for kind in kept.cached))


def on_one_device(
    kept: CacheLayout, workload: Workload, placement: Placement
) -> tuple[CacheLayout, Workload]:
    """Return what the fullest device keeps: its heads, its share of the sequences."""
    tensor, shards = placement.size("tensor"), placement.size("data", "fsdp")
    recurrent = tuple(
        RecurrentLayers(
            each.layers, -(-each.convolution // tensor), -(-each.state // tensor)
        )
        for each in kept.recurrent
    )
    cached = tuple(kind.split(tensor) for kind in kept.cached)
    batch = -(-workload.batch // shards)
    return replace(kept, cached=cached, recurrent=recurrent), replace(workload, batch=batch)


def token_bytes(kind: CachedLayers, types: KvTypes) -> int:
    """Return what one layer keeps of one token, in whole blocks.

    >>> token_bytes(CachedLayers(32, 8, 128, 128), kv_types(Workload(kv_dtype="bf16"), ""))
    4096
    """
    heads = kind.heads or 1
    return types.key.nbytes(heads * kind.key) + types.value.nbytes(heads * kind.value)


def amounts_of(kept: CacheLayout, workload: Workload) -> list[Amount]:
    """Return the cache of every kind of layers under the rules of a workload's engine.

    Raises:
        InputError: a dtype that the engine's cache cannot have.
    """
    types = kv_types(workload, kept.dtype)
    check_blocks(types, kept.cached)
    tokens = ENGINES[workload.engine].tokens
    layers = _allocated(kept, workload)
    return [
        Amount(kind, number, tokens(kept, kind, workload), token_bytes(kind, types))
        for kind, number in zip(kept.cached, layers, strict=True)
    ]


def _allocated(kept: CacheLayout, workload: Workload) -> list[int]:
    """Return the layers of each kind; padded to equal groups in vllm's hybrid manager.

    A group has as many layers as the rarest kind, or as the commonest if that has less than
    half as many again (_get_kv_cache_groups_uniform_page_size in kv_cache_utils.py).
    """
    numbers = [kind.layers for kind in kept.cached]
    mixed = len({kind.window for kind in kept.cached}) > 1
    if workload.engine != "vllm" or not mixed or not keeps_windows(kept, workload):
        return numbers
    least, most = min(numbers), max(numbers)
    group = most if most < least * 1.5 else least
    return [-(-number // group) * group for number in numbers]


def state_bytes(kept: CacheLayout, workload: Workload) -> int:
    """Return the bytes of the recurrent states of all sequences."""
    convolution, state = state_types(workload, kept.dtype)
    each = sum(
        layers.layers
        * (convolution.nbytes(layers.convolution) + state.nbytes(layers.state))
        for layers in kept.recurrent
    )
    return sequences_of(workload) * each


def cache_bytes(
    model: Architecture | CacheLayout, workload: Workload, placement: Placement = ONE_DEVICE
) -> int:
    """Return the bytes of keys, values and states on the fullest device.

    It is cheap: a search over contexts may call it again and again.

    Args:
        model: an architecture, or what its layers keep.
        workload: with its context set.
        placement: the mesh; by default one device, which holds everything.

    >>> from explorer.architectures.resolve import resolve
    >>> llama = resolve("llama-2-13b").architecture
    >>> cache_bytes(llama, Workload(context=8192, dtype="bfloat16"))
    6710886400
    """
    kept, workload = on_one_device(plain(model, workload), workload, placement)
    amounts = amounts_of(kept, workload)
    return sum(amount.bytes for amount in amounts) + state_bytes(kept, workload)
