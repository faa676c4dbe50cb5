"""The types that llama.cpp's mixing rules give the tensors of a target whose model is known."""

from explorer.architectures.architecture import Architecture
from explorer.errors import InputError, printable
from explorer.paths import name_of
from explorer.sizing.weights.gguf_blocks import MIXES, TYPES
from explorer.sizing.weights.gguf_files import tensor_types
from explorer.sizing.weights.parsing import Wanted
from explorer.targets.leaves import leaves_of
from explorer.targets.records import Target
from explorer.targets.sides import side_of

__all__ = ["is_mix", "mix_of"]

_UNIFORM = ("F32", "F16", "BF16", "Q8_0")  # mixes that give every matrix one type


def is_mix(wanted: Wanted) -> bool:
    """Return whether a scheme gives the tensors of a model different types.

    >>> is_mix(Wanted("Q4_K_M", True)), is_mix(Wanted("Q4_K_M", True, pure=True))
    (True, False)
    """
    is_one = wanted.pure or wanted.name in _UNIFORM
    return wanted.gguf and wanted.name in MIXES and not is_one


def mix_of(
    target: Target, architecture: Architecture | None, wanted: Wanted
) -> dict[str, str]:
    """Return the scheme of each tensor of a target, by name.

    Args:
        target: a checkpoint, or parameters.
        architecture: of the model; None for what the target says itself.
        wanted: one of llama.cpp's mixes.

    Raises:
        InputError: nothing says what the layers of the target are, or they are stacked so that
            one tensor would need several types.
    """
    side = side_of(target)
    architecture = architecture or side.architecture()
    if architecture is None:
        raise InputError(
            "quantize",
            found=f"{wanted.name} mixes types by layers, and nothing says what they are",
            expected="model=, the module of these parameters, or a checkpoint with its config",
            cure=f"{wanted.name}:pure gives every matrix {MIXES[wanted.name]}",
        )
    kinds: dict[tuple[str, ...], str] = {}
    for tensor, kind in tensor_types(architecture, wanted):
        for path in tensor.leaves:
            kinds[path] = kind
    found: dict[str, str] = {}
    for leaf, part in leaves_of(side, architecture).items():
        name = name_of(part.key)
        kind = kinds.get(leaf.path, "")
        scheme = f"{kind}:pure" if kind in TYPES else ""
        if found.setdefault(name, scheme) != scheme:
            raise InputError(
                printable(name, 100),
                found=f"holds several layers, which {wanted.name} gives different types",
                expected="a tensor for each layer",
                cure="load the model without scan=True",
            )
    if not found:
        raise InputError(
            side.place,
            found=f"does not hold the parameters of {architecture.class_name}",
            expected="those of the module that is given",
        )
    return found
