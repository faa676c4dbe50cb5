"""What a tensor is part of, where it is not a component of transformers: its module's own name."""

import re
from collections.abc import Iterator, Sequence
from typing import get_args

from explorer.errors import printable
from explorer.inventory.columns import Columns
from explorer.inventory.tensor import Component, Kind
from explorer.inventory.totals import ZERO, Totals
from explorer.paths import path_of

__all__ = ["component_totals", "component_word"]

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
        word = _NUMBERED.sub("", part).casefold()
        if len(word) > 1 and word not in _NOT_NAMES:
            return printable(word, _LONGEST)
    return "dense" if role in ("kernel", "bias") else "unclassified"


def component_totals(columns: Columns) -> dict[str, Totals]:
    """Return what the tensors of each component add up to, "other" by its modules' own names.

    The largest of these names are kept; what is left is "unclassified".
    """
    known: dict[str, Totals] = {}
    for kind, named, unique in columns.counts():
        if kind.component != "other":
            word = kind.component
            known[word] = known.get(word, ZERO) + Totals.of(kind, named, unique)
    others: dict[str, Totals] = {}
    for word, kind, is_alias in _unclassified(columns):
        totals = Totals.of(kind, 1, 0 if is_alias else 1)
        others[word] = others.get(word, ZERO) + totals
    ordered = sorted(others, key=lambda w: (-others[w].parameters, -others[w].elements, w))
    for place, word in enumerate(ordered):
        kept = word if place < _MOST else "unclassified"
        known[kept] = known.get(kept, ZERO) + others[word]
    return known


def _unclassified(columns: Columns) -> Iterator[tuple[str, Kind, bool]]:
    """Yield the word, the kind, and whether it is an alias, of each tensor of no component."""
    kinds = columns.kinds
    for index, number in enumerate(columns.numbers):
        kind = kinds[number]
        if kind.component == "other":
            word = component_word("other", kind.role, path_of(columns.keys[index]))
            yield word, kind, index in columns.aliases
