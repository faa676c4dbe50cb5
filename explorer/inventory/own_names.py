"""What a tensor is part of, where it is not a component of transformers: its module's own name."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import get_args

from explorer.errors import printable
from explorer.inventory.columns import Columns
from explorer.inventory.tensor import Component
from explorer.inventory.totals import ZERO, Totals
from explorer.paths import path_of

__all__ = ["component_totals", "component_word", "group_words", "own_names"]

_COMPONENTS = frozenset(get_args(Component))
_NUMBERED = re.compile(r"[\d\[\]\s,_.-]+$")  # conv1, Dense_0, layers_[0-11]
_DENSE = frozenset(("dense", "linear", "lin", "fc", "kernel", "proj"))
# what says where a tensor is, and not what it is
_CONTAINERS = frozenset("""
    params model module net network layer layers block blocks encoder decoder weight qweight
    base_layer transformer backbone body core state vars variables root stack wrapped
    """.split())  # fmt: skip  # noqa: SIM905
_NOT_NAMES = _COMPONENTS | _CONTAINERS | _DENSE
_LONGEST = 24  # characters of a name
_MOST = 5  # names of one model that are groups of their own


def component_word(component: str, role: str = "", path: Sequence[str] = ()) -> str:
    """Return a component as people read it: the module's own name where it is "other".

    Args:
        component: the tensor's.
        role: the tensor's.
        path: the names of its modules, then its own.

    >>> component_word("mlp"), component_word("other", "kernel", ("pooler", "dense", "kernel"))
    ('mlp', 'pooler')
    >>> component_word("other", "kernel", ("conv1", "weight"))
    'conv'
    >>> component_word("other", "kernel", ("layers", "0", "w")), component_word("other")
    ('dense', 'unclassified')
    """
    if component != "other":
        return component
    for part in reversed(path[:-1]):
        if word := _own_name(part):
            return word
    return "dense" if role in ("kernel", "bias") else "unclassified"


@lru_cache(4096)
def _own_name(part: str) -> str:
    """Return a module's name without its number; empty where it says only where it is."""
    word = _NUMBERED.sub("", part).casefold()
    is_name = len(word) > 1 and word not in _NOT_NAMES
    return printable(word, _LONGEST) if is_name else ""


def component_totals(columns: Columns) -> dict[str, Totals]:
    """Return what the tensors of each component add up to, "other" by its modules' own names.

    The largest of these names are kept; what is left is "unclassified".
    """
    known: dict[str, Totals] = {}
    for kind, named, unique in columns.counts():
        if kind.component != "other":
            word = kind.component
            known[word] = known.get(word, ZERO) + Totals.of(kind, named, unique)
    others = _others(columns)
    largest = _largest(others)
    for word, totals in others.items():
        kept = word if word in largest else "unclassified"
        known[kept] = known.get(kept, ZERO) + totals
    return known


def own_names(columns: Columns) -> frozenset[str]:
    """Return the modules' own names that are groups of their own in `component_totals`."""
    return _largest(_others(columns))


def group_words(columns: Columns, names: Set[str]) -> Iterator[str]:
    """Yield of each tensor the group of `component_totals` that it is in.

    Args:
        columns: of an inventory.
        names: own names that are groups, those of `own_names`.
    """
    kinds = columns.kinds
    for key, number in zip(columns.keys, columns.numbers, strict=True):
        kind = kinds[number]
        if kind.component != "other":
            yield kind.component
        else:
            word = component_word("other", kind.role, path_of(key))
            yield word if word in names else "unclassified"


def _others(columns: Columns) -> dict[str, Totals]:
    """Return what the tensors of no component add up to, by their modules' own names."""
    others: dict[str, Totals] = {}
    for (word, number, is_alias), named in _unclassified(columns).items():
        totals = Totals.of(columns.kinds[number], named, 0 if is_alias else named)
        others[word] = others.get(word, ZERO) + totals
    return others


def _largest(others: Mapping[str, Totals]) -> frozenset[str]:
    """Return the words of the most parameters, then of the most elements."""
    ordered = sorted(others, key=lambda w: (-others[w].parameters, -others[w].elements, w))
    return frozenset(ordered[:_MOST])


def _unclassified(columns: Columns) -> Counter[tuple[str, int, bool]]:
    """Return how many tensors of no component have a word, a kind, and a storage elsewhere."""
    roles = {n: k.role for n, k in enumerate(columns.kinds) if k.component == "other"}
    if not roles:
        return Counter()
    return Counter(
        (
            component_word("other", roles[number], path_of(columns.keys[index])),
            number,
            index in columns.aliases,
        )
        for index, number in enumerate(columns.numbers)
        if number in roles
    )
