"""The kernels of a target, and how each is laid out: which axes are inputs, which outputs."""

from explorer.errors import TargetError
from explorer.inventory.inventory import Inventory
from explorer.paths import matches
from explorer.targets.inventories import inventory_of, known_architecture_of
from explorer.targets.records import Checkpoint, Target
from explorer.transforms.pruning.matrices import MatrixView, view_of

__all__ = ["views_of"]

_TORCH = ("safetensors", "pytorch", "gguf")
# GPT-2's linear layers, stored as they are used
_AS_USED = ("c_attn.weight", "c_proj.weight", "c_fc.weight", "q_attn.weight")


def views_of(
    target: Target, name: str, select: str | None, decoded: Inventory | None = None
) -> dict[str, MatrixView]:
    """Return how each kernel to be pruned is laid out, by the names of tensors.

    Args:
        target: whose kernels.
        name: what errors call it.
        select: a glob over tensors; None for the kernels of linear layers.
        decoded: the inventory of a target whose packed weights are decoded.

    Raises:
        InputError: there is none.
    """
    inventory = inventory_of(target) if decoded is None else decoded
    as_used = _stored_as_used(target, inventory)
    found: dict[str, MatrixView] = {}
    for tensor in inventory:
        if tensor.alias or (select is not None and not matches(tensor.key, select)):
            continue
        first = _outputs_first(inventory, tensor.path) and not tensor.source_name.endswith(
            as_used
        )
        view = view_of(tensor.path, tensor.kind, first, every=select is not None)
        if view is not None:
            found[tensor.name] = view
    if not found:
        raise TargetError(
            name,
            found=f"has no kernel {f'that {select} matches' if select else 'of a linear layer'}",
            expected="float weights of linear layers, as `explorer show` lists them",
        )
    return found


def _outputs_first(inventory: Inventory, path: tuple[str, ...]) -> bool:
    """Return whether a kernel's layout is PyTorch's, by its source or by how it is called."""
    return inventory.source.startswith(_TORCH) or path[-1] == "weight"


def _stored_as_used(target: Target, inventory: Inventory) -> tuple[str, ...]:
    """Return the ends of the names of kernels that a checkpoint stores [inputs, outputs]."""
    if inventory.source.startswith("gguf"):
        return ()
    known = known_architecture_of(target) if isinstance(target, Checkpoint) else None
    return _AS_USED if known is None or known.family == "gpt2" else ()
