"""Modules that are trained whole beside adapters, as copies of their own.

References:
    huggingface/peft, peft/utils/other.py, ModulesToSaveWrapper (2025): a copy is trained and the
    original kept, so that both are counted.
"""

import difflib
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from explorer.architectures.architecture import Architecture
from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.stored_tensors import alias_tensors, iter_stored
from explorer.errors import InputError, printable

__all__ = ["saved_leaves", "saved_tensors"]

Shape = tuple[int, ...]


@lru_cache(64)
def saved_tensors(
    architecture: Architecture, modules: tuple[str, ...]
) -> tuple[tuple[str, Shape], ...]:
    """Return the stored tensors outside the blocks whose copies are trained whole.

    Args:
        architecture: the model.
        modules: their names as checkpoints spell them ("lm_head", "embed_tokens"), or
            explorer's ("embed", "classifier").

    Raises:
        InputError: a name of no module.

    >>> from explorer.architectures.resolve import resolve
    >>> saved_tensors(resolve("gpt2").architecture, ("lm_head",))
    (('lm_head.weight', (50257, 768)),)
    """
    if not modules:
        return ()
    names = checkpoint_names_of(architecture)
    no_blocks = msgspec.structs.replace(architecture, stages=())
    own = dict(iter_stored(no_blocks, names))
    stored = own | alias_tensors(no_blocks, names)  # a tied head is copied too
    found: dict[str, Shape] = {}
    for module in modules:
        named = {n: each for n, each in stored.items() if module in n.split(".")[:-1]}
        fitting = named or {
            n: each
            for n, each in own.items()
            if module in {leaf[0] for leaf in each.leaves}
        }
        if not fitting:
            raise _unsaved(module, stored)
        found |= {name: each.shape for name, each in fitting.items()}
    return tuple(found.items())


def saved_leaves(architecture: Architecture, modules: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths of the parameters of modules that are trained whole.

    Raises:
        InputError: as `saved_tensors`; also a module that is a second name of another one.

    >>> from explorer.architectures.resolve import resolve
    >>> saved_leaves(resolve("bert-base-uncased").architecture, ("pooler",))
    ('pooler/kernel', 'pooler/bias')
    """
    names = checkpoint_names_of(architecture)
    no_blocks = msgspec.structs.replace(architecture, stages=())
    own = dict(iter_stored(no_blocks, names))
    found: dict[str, None] = {}
    for name, _ in saved_tensors(architecture, modules):
        if name not in own:
            raise InputError(
                "lora: save",
                found=f"{name} is tied: a second name of another tensor",
                expected="a module with parameters of its own",
                cure="ex.add_lora(save=) takes paths of parameters",
            )
        found |= dict.fromkeys("/".join(leaf) for leaf in own[name].leaves)
    return tuple(found)


def _unsaved(module: str, stored: Iterable[str]) -> InputError:
    known = sorted({part for name in stored for part in name.split(".")[:-1]})
    near = difflib.get_close_matches(module, known, 1, 0.5)
    return InputError(
        "lora: save",
        found=f"no module outside the layers is called {printable(module, 40)!r}",
        expected=f"one of {', '.join(known)}",
        cure=f"did you mean {near[0]}?" if near else "",
    )
