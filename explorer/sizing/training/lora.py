"""Adapters by target and rank: which matrices of a checkpoint they adapt, what they add.

An adapter of a stored matrix [outputs, inputs] is A [rank, inputs] and B [outputs, rank]:
rank x (inputs + outputs) parameters, as in peft. A fused projection (GPT-2's c_attn) is one
matrix. DoRA adds a magnitude for each output. Modules that are trained whole beside adapters
are copies (peft's modules_to_save): what they copy stays in the model, a tied head's table too.

References:
    Hu et al., LoRA (2021); Liu et al., DoRA (2024); huggingface/peft tuners/lora (2025).
"""

import difflib
from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import NamedTuple

from explorer.architectures.architecture import Architecture
from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.stored_tensors import iter_expert_groups
from explorer.architectures.tensor_layout import TRANSPOSED
from explorer.errors import InputError, printable
from explorer.sizing.settings import Lora
from explorer.sizing.training.saved import saved_tensors

__all__ = [
    "GROUPS",
    "WORDS",
    "Adapted",
    "adapted_matrices",
    "adapter_parameters",
    "adapter_shapes",
    "adapter_tensors",
    "ranks_above",
]

# explorer's words for projections, and what people call them
WORDS = {
    "q": ("query", "query_up"), "k": ("key", "latent_up"), "v": ("value", "latent_up"), "o": ("out",),
    "query": ("query", "query_up"), "key": ("key", "latent_up"), "value": ("value", "latent_up"), "out": ("out",),
    "gate": ("gate_proj",), "up": ("up_proj",), "down": ("down_proj",),
}  # fmt: skip
Path = tuple[str, ...]
Shape = tuple[int, ...]

GROUPS = ("attention", "mlp", "all", "all-linear")


class Adapted(NamedTuple):
    """A stored matrix that is adapted, or one of each of a layer's experts.

    Attributes:
        name: of the stored tensor; "{e}" stands for the number of an expert.
        inputs, outputs: its sizes.
        leaves: the paths of the kernels that it holds.
        copies: how many experts have one.
    """

    name: str
    inputs: int
    outputs: int
    leaves: tuple[tuple[str, ...], ...]
    copies: int = 1

    def shapes(self, lora: Lora) -> dict[str, Shape]:
        """Return the shapes of what one adapter learns, by name."""
        pair = {"lora_a": (self.inputs, lora.rank), "lora_b": (lora.rank, self.outputs)}
        return pair | ({"magnitude": (self.outputs,)} if lora.dora else {})


def adapter_parameters(architecture: Architecture, lora: Lora) -> int:
    """Return the parameters that adapters add to a model, copies of whole modules included.

    Raises:
        InputError: as `adapted_matrices` and `saved_tensors`.

    >>> from explorer.architectures.resolve import resolve
    >>> adapter_parameters(resolve("qwen2.5-3b").architecture, Lora(rank=16))
    3686400
    """
    return sum(prod(shape) * n for shape, n in adapter_tensors(architecture, lora))


def adapter_tensors(architecture: Architecture, lora: Lora) -> list[tuple[Shape, int]]:
    """Return the shapes of what is trained, each with how many have it.

    Raises:
        InputError: as `adapter_parameters`.
    """
    matrices = adapted_matrices(architecture, lora.targets)
    found = [
        (shape, each.copies) for each in matrices for shape in each.shapes(lora).values()
    ]
    return found + [(shape, 1) for _, shape in saved_tensors(architecture, lora.save)]


def adapter_shapes(architecture: Architecture, lora: Lora) -> dict[Path, Shape]:
    """Return the shapes of what is trained, by path.

    Raises:
        InputError: as `adapter_parameters`.

    >>> from explorer.architectures.resolve import resolve
    >>> shapes = adapter_shapes(resolve("gpt2").architecture, Lora(rank=4, targets=("c_attn",)))
    >>> shapes["transformer", "h", "0", "attn", "c_attn", "lora_b"]
    (4, 2304)
    """
    shapes: dict[Path, Shape] = {}
    for each in adapted_matrices(architecture, lora.targets):
        for expert in range(each.copies):
            name = each.name.replace("{e}", str(expert)).removesuffix(".weight")
            path = tuple(name.split("."))
            shapes |= {(*path, own): shape for own, shape in each.shapes(lora).items()}
    saved = saved_tensors(architecture, lora.save)
    return shapes | {(*name.split("."), "saved"): shape for name, shape in saved}


def ranks_above(architecture: Architecture, lora: Lora) -> list[str]:
    """Return a warning where a rank is above a matrix's smaller side; peft allows it.

    >>> from explorer.architectures.resolve import resolve
    >>> ranks_above(resolve("gpt2").architecture, Lora(rank=1024, targets=("c_attn",)))
    ['lora: a rank of 1,024 is above the smaller side of c_attn, 768: no matrix needs more']
    """
    sides: dict[str, int] = {}
    for each in adapted_matrices(architecture, lora.targets):
        side = min(each.inputs, each.outputs)
        if side < lora.rank:
            sides[_module(each.name)] = side
    what = ", ".join(f"{name}, {side:,}" for name, side in sides.items())
    above = f"lora: a rank of {lora.rank:,} is above the smaller side of"
    return [f"{above} {what}: no matrix needs more"] if sides else []


@lru_cache(64)
def adapted_matrices(
    architecture: Architecture, targets: tuple[str, ...]
) -> tuple[Adapted, ...]:
    """Return the matrices that targets name.

    Args:
        architecture: the model.
        targets: names of modules as its checkpoints spell them ("q_proj", "c_attn"),
            explorer's ("query", "up_proj"), short ones ("q", "v", "o", "gate"), or the groups
            "attention", "mlp" and "all" (every linear layer but the head).

    Raises:
        InputError: a target that names no matrix; the error lists those that there are.

    >>> from explorer.architectures.resolve import resolve
    >>> adapted_matrices(resolve("gpt2").architecture, ("c_attn",))[0][:3]
    ('transformer.h.0.attn.c_attn.weight', 768, 2304)
    """
    matrices = tuple(_matrices(architecture))
    if not targets:
        raise InputError(
            "lora",
            found="no targets",
            expected=f"some of {_known(matrices)}",
        )
    found: dict[str, Adapted] = {}
    for target in targets:
        fitting = [each for each in matrices if _fits(each, target)]
        if not fitting:
            raise _unknown(target, matrices)
        found |= {each.name: each for each in fitting}
    return tuple(found.values())


def _matrices(architecture: Architecture) -> Iterator[Adapted]:
    """Yield the linear layers inside blocks, by their stored names."""
    names = checkpoint_names_of(architecture)
    for name, stored, copies in iter_expert_groups(architecture, names):
        in_block = stored.leaves[0][0].startswith("layers_")
        is_kernel = all(leaf[-1] == "kernel" for leaf in stored.leaves)
        if not in_block or not is_kernel or len(stored.shape) != 2:
            continue
        if any("router" in leaf for leaf in stored.leaves):
            continue
        outputs, inputs = stored.shape
        if stored.layout != TRANSPOSED and stored.layout.axes is None:
            inputs, outputs = stored.shape  # GPT-2's layers are stored as they are used
        yield Adapted(name, inputs, outputs, stored.leaves, copies)


def _module(name: str) -> str:
    """Return the last name of a module: "q_proj" of "...self_attn.q_proj.weight"."""
    return name.removesuffix(".weight").rpartition(".")[2]


def _fits(matrix: Adapted, target: str) -> bool:
    parents = {leaf[-2] for leaf in matrix.leaves}
    if target in ("all", "all-linear"):
        return True
    if target in ("attention", "mlp"):
        is_attention = any("attention" in leaf for leaf in matrix.leaves)
        return is_attention == (target == "attention")
    return (
        target == _module(matrix.name)
        or matrix.name.removesuffix(".weight").endswith(f".{target}")
        or not parents.isdisjoint(WORDS.get(target, (target,)))
    )


def _known(matrices: tuple[Adapted, ...]) -> str:
    names = sorted({_module(each.name) for each in matrices})
    return f"{', '.join(names)}, or attention, mlp, all"


def _unknown(target: str, matrices: tuple[Adapted, ...]) -> InputError:
    names = {_module(each.name) for each in matrices}
    near = difflib.get_close_matches(target, [*names, *WORDS, *GROUPS], 1, 0.5)
    return InputError(
        "lora",
        found=f"no linear layer is called {printable(target, 40)!r}",
        expected=f"one of {_known(matrices)}",
        cure=f"did you mean {near[0]}?" if near else "",
    )
