"""A GGUF file's weights from the architecture alone: llama.cpp's mixes, or one type for all."""

from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import declare
from explorer.architectures.listing import is_parameter
from explorer.errors import InputError
from explorer.inventory.inventory import Inventory
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.subject import Subject
from explorer.sizing.weights.gguf_blocks import MIXES, TYPES, block_piece, fitting_type
from explorer.sizing.weights.gguf_mixes import mixed_types, needs_importances
from explorer.sizing.weights.gguf_tensors import (
    GgufTensor,
    gguf_tensors,
    is_quantised,
    mix_facts,
)
from explorer.sizing.weights.groups import (
    LOGICAL,
    TensorGroup,
    groups_of,
    is_packed,
    is_routed,
    matrix_of,
    share_of,
)
from explorer.sizing.weights.parsing import Wanted
from explorer.sizing.weights.totals import Piece, Tally, Weights

__all__ = ["gguf_weights", "tensor_types", "uniform_type"]

_UNIFORM = ("F32", "F16", "BF16", "Q8_0")  # mixes that give every matrix one type


def tensor_types(
    architecture: Architecture, wanted: Wanted, importances: bool | None = None
) -> list[tuple[GgufTensor, str]]:
    """Return the tensors of an architecture's GGUF file, each with its type.

    Args:
        architecture: the model.
        wanted: one of llama.cpp's schemes.
        importances: whether an importance matrix is given; by default, where one must be.

    Raises:
        InputError: llama.cpp does not have the architecture, or refuses one of its rows.
    """
    tensors = gguf_tensors(architecture)
    default = wanted.name if wanted.name in TYPES else MIXES[wanted.name]
    if importances is None:
        importances = wanted.imatrix or needs_importances(wanted.name)
    chosen = [tensor for tensor in tensors if is_quantised(tensor)]
    if wanted.pure or default not in TYPES:
        types = [default] * len(chosen)
    else:
        facts = mix_facts(architecture, importances)
        types = mixed_types(wanted.name, [(t.name, t.shape) for t in chosen], facts)
    fitting = {t.name: _fitting(kind, t) for t, kind in zip(chosen, types, strict=True)}
    return [(tensor, fitting.get(tensor.name, "float32")) for tensor in tensors]


def _fitting(name: str, tensor: GgufTensor) -> str:
    found = fitting_type(name, tensor.shape[-1])
    if found is None:
        raise InputError(
            "quantize",
            found=f"llama.cpp cannot store rows of {tensor.shape[-1]:,} as {name} ({tensor.name})",
            expected="a type whose blocks divide them, or a k-quant, which falls back",
        )
    return found


def gguf_weights(subject: Subject, wanted: Wanted, placement: Placement) -> Weights:
    """Return the bytes of a model's tensors in a GGUF file.

    Raises:
        InputError: a mix without an architecture, or what llama.cpp refuses.
    """
    if subject.architecture is None:
        return _uniform(subject, wanted, placement)
    architecture = subject.architecture
    tally = Tally(placement)
    router = architecture.router
    # a leaf's own shape decides over which devices it is split
    several = placement.devices > 1
    shapes = {t.path: t.shape for t in declare(architecture)} if several else {}
    stored = 0
    for tensor, kind in tensor_types(architecture, wanted):
        piece = block_piece(kind, tensor.shape)
        if not any(
            map(is_parameter, tensor.leaves)
        ):  # rotary factors, the routers' offsets
            piece = Piece(f"buffers ({kind})", 0, piece.values, piece.scales)
        stored += piece.elements
        share = (1, 1)
        if "_exps." in tensor.name and router is not None:
            share = (router.per_token, router.experts)
        elif _is_looked_up(tensor.name, architecture):
            share = (1, tensor.shape[0])
        leaf = tensor.leaves[0] if tensor.leaves else (tensor.name,)
        tally.add(piece, leaf, shapes.get(leaf, tensor.shape), share=share)
    note = _note(subject, wanted)
    if (left := subject.inventory.num_parameters - stored) > 0:
        note += f"; its converter leaves out {left:,} parameters"
    return tally.weights("exact", note)


def _note(subject: Subject, wanted: Wanted) -> str:
    if wanted.pure or wanted.name in _UNIFORM:
        note = f"GGUF tensors: every matrix {wanted.name}, norms and biases float32"
    else:
        given = wanted.imatrix or needs_importances(wanted.name)
        matrix = " with an importance matrix" if given else ""
        note = f"GGUF tensors by llama.cpp's mixing rule for {wanted.name}{matrix}"
    if is_packed(subject.inventory):
        return f"{note}; {LOGICAL}"
    card = subject.inventory.card
    packed = card is not None and (
        card.packing or (card.advertised is not None and card.advertised.file_format)
    )
    return f"{note}, from a source in 16 bits" if packed else note


def _is_looked_up(name: str, architecture: Architecture) -> bool:
    if name == "token_embd.weight":
        return not architecture.tied
    return name in ("position_embd.weight", "token_types.weight")


def _uniform(subject: Subject, wanted: Wanted, placement: Placement) -> Weights:
    """Return the bytes where nothing is known of the layers: one type for every matrix."""
    inventory = subject.inventory
    tally = Tally(placement)
    for group in groups_of(inventory, placement.devices > 1):
        kind = group.kind
        if not kind.is_parameter:
            continue
        shape = kind.shape
        matrix = matrix_of(group, inventory, heads=True)
        if matrix is not None:
            shape = (matrix.stack * matrix.outputs, matrix.inputs)
        name = uniform_type(group, inventory, wanted, subject.name)
        piece, share = block_piece(name, shape), share_of(group, inventory)
        tally.add(piece, group.path, kind.shape, group.number, share)
    note = f"every matrix {_one_type(wanted, subject.name)} by its role, the rest float32"
    if is_packed(inventory):
        note = f"{note}; {LOGICAL}"
    return tally.weights("exact", note, routed=is_routed(inventory))


def uniform_type(
    group: TensorGroup, inventory: Inventory, wanted: Wanted, name: str
) -> str:
    """Return the type of a group of tensors where every matrix has one.

    Raises:
        InputError: a mix, which needs an architecture.
    """
    default = _one_type(wanted, name)
    matrix = matrix_of(group, inventory, heads=True)
    if matrix is not None:
        return fitting_type(default, matrix.inputs) or "float16"
    if group.kind.role == "embedding" and len(group.kind.shape) == 2:
        return fitting_type(default, group.kind.shape[-1]) or "float16"
    return "float32"


def _one_type(wanted: Wanted, name: str) -> str:
    if not (wanted.pure or wanted.name in _UNIFORM):
        raise InputError(
            name,
            found=f"has no architecture, which the mixing rule of {wanted.name} needs",
            expected="a name of `explorer catalog`, a config.json, or a folder with one",
            cure=f"{wanted.name}:pure gives every matrix one type",
        )
    return wanted.name if wanted.name in TYPES else MIXES[wanted.name]
