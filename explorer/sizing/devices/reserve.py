"""What a device loses to its driver's context, the runtime and the allocator."""

from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, Workload

__all__ = ["reserve_term"]

_MIB = 2**20
# low, best and high of one device: a CUDA context with its libraries takes 300 to 600 MiB, and
# collectives of several devices keep buffers of their own; modelinfo takes 600 MiB
_ONE = {
    "jax": (300, 500, 1000),
    "llama.cpp": (100, 300, 600),
    "vllm": (500, 1000, 2000),
    "sglang": (500, 1000, 2000),
}
_SEVERAL = (100, 300, 1000)


def reserve_term(workload: Workload, placement: Placement) -> Term:
    """Return the reserve of all devices of a mesh: an assumption, wherever it runs.

    >>> reserve_term(Workload(), Placement()).provenance
    "assumed (a driver's context and the runtime's own buffers)"
    """
    sizes = _ONE[workload.engine]
    if placement.devices > 1:
        sizes = tuple(a + b for a, b in zip(sizes, _SEVERAL, strict=True))
    low, best, high = (size * _MIB * placement.devices for size in sizes)
    return Term(
        name="reserve",
        bytes=best,
        low=low,
        high=high,
        provenance="assumed (a driver's context and the runtime's own buffers)",
        note="of a GPU; less where there is none",
        per_device=best // placement.devices,
    )
