"""Totals by group; the rows of every grouping add up to the same total."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import msgspec

from explorer.document.exporting import Exportable
from explorer.errors import InputError, check_number, check_type, shown
from explorer.inventory.inventory import Inventory
from explorer.inventory.own_names import component_totals, component_word
from explorer.inventory.tensor import Kind
from explorer.inventory.totals import ZERO, Totals, sum_totals
from explorer.paths import Key, path_of

__all__ = ["Group", "Summary", "summarize"]

By = Literal["role", "component", "module", "dtype", "collection"]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of the tensors that have one name, such as a role or a module."""

    name: str
    tensors: int = 0
    parameters: int = 0
    weights: int = 0
    biases: int = 0
    elements: int = 0
    nbytes: int = 0

    @classmethod
    def of(cls, name: str, totals: Totals) -> "Group":
        """Return the group of that name and these totals."""
        figures = {field: getattr(totals, field) for field in cls.__struct_fields__[1:]}
        return cls(name=name, **figures)


class Summary(Exportable, frozen=True, kw_only=True):
    """Groups, largest first, and the total that they add up to.

    >>> import explorer as ex
    >>> ex.summarize({"kernel": [0.0, 0.0], "bias": [0.0]}, by="role").total.parameters
    3
    """

    by: str
    groups: tuple[Group, ...]
    total: Group


def summarize(
    inventory: Inventory, by: By | Sequence[By] = "component", depth: int = 1
) -> Summary:
    """Return an inventory's totals by group.

    Args:
        inventory: what to group.
        by: role, component, module, dtype or collection; several make joint groups. What is
            of no known component is grouped by its module's own name.
        depth: for modules, how many names of the path make one.

    Raises:
        InputError: an unknown word in `by`, or a depth below 1.
    """
    if not isinstance(by, str | list | tuple):
        check_type("by", by, str, " or ".join(get_args(By)))
    check_number("depth", depth)
    words = (by,) if isinstance(by, str) else tuple(by)
    choices = get_args(By)
    unknown = [word for word in words if word not in choices]
    if unknown or not words:
        raise InputError("by", found=shown(by, 60), expected=" or ".join(choices))
    if depth < 1:
        raise InputError("depth", found=str(depth), expected="1 or more")
    if words == ("component",):
        sums = component_totals(inventory.columns)
    elif "module" in words or "component" in words:
        sums = _by_path(inventory, words, depth)
    else:
        sums = {}
        for kind, named, unique in inventory.kinds:
            name = " ".join(_WORDS[word](kind) for word in words)
            sums[name] = sums.get(name, ZERO) + Totals.of(kind, named, unique)
    groups = [Group.of(name, totals) for name, totals in sums.items()]
    if "module" not in words:
        groups.sort(key=lambda group: (-group.parameters, -group.elements, group.name))
    return Summary(
        by=" ".join(words),
        groups=tuple(groups),
        total=Group.of("total", sum_totals(sums.values())),
    )


def _by_path(inventory: Inventory, words: Sequence[str], depth: int) -> dict[str, Totals]:
    """Return totals by words that follow from paths, in the order of the source."""
    columns, kinds = inventory.columns, inventory.columns.kinds
    counts: Counter[tuple[str, str, int, bool]] = Counter()
    for index, (key, number) in enumerate(zip(columns.keys, columns.numbers, strict=True)):
        module = _module(key, depth) if "module" in words else ""
        component = ""
        if "component" in words:
            kind = kinds[number]
            is_known = kind.component != "other"
            path = () if is_known else path_of(key)
            component = component_word(kind.component, kind.role, path)
        counts[module, component, number, index in columns.aliases] += 1
    sums: dict[str, Totals] = {}
    for (module, component, number, alias), count in counts.items():
        found = {"module": module, "component": component}
        name = " ".join(found.get(word) or _WORDS[word](kinds[number]) for word in words)
        totals = Totals.of(kinds[number], count, 0 if alias else count)
        sums[name] = sums.get(name, ZERO) + totals
    return sums


def _module(key: Key, depth: int) -> str:
    path = path_of(key)
    return "/".join(path[: min(depth, len(path) - 1)] or path)


_WORDS: dict[str, Callable[[Kind], str]] = {
    # state has no role: its collection says what it is
    "role": lambda kind: kind.role if kind.is_parameter else kind.collection,
    "module": lambda kind: "",
    "dtype": lambda kind: kind.dtype,
    "collection": lambda kind: kind.collection,
}
