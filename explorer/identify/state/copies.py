"""Second copies of the parameters: averages, targets, teachers, earlier and best values.

A copy is known by two things together: its name, and a neighbour whose name is its own
without that word and which holds arrays of all its names and shapes. Two towers of equal
shapes are not copies, nor is a `target_embedding` beside a `source_embedding`.
"""

import re
from collections.abc import Iterator

from explorer.identify.state.tree import Node

__all__ = ["copies_in"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# what such copies are -> their words; a target may be the original of an average
_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (rule, re.compile(rf"(^|_)({words})(?=_|$)", re.IGNORECASE))
    for rule, words in (
        (
            "moving averages of parameters",
            "ema|swa|avg|averaged?|averages|shadow|polyak|momentum",
        ),
        ("teacher copies", "teacher|lagged"),
        ("earlier copies", "old|prev|previous|best|ref|reference|init|initial|original"),
        ("target copies", "targ|targets?|tgt"),
    )
)
# what the other one may be called beside a copy that has no name but its word
_ORIGINALS = _names(
    """
    params parameters model state_dict model_state_dict variables weights net network
    module online student main policy current learner backbone generator
    """
)
_COUNTERPART = re.compile(
    r"(^|_)(online|student|main|current|learner|base|local)(?=_|$)", re.IGNORECASE
)
_QUERIES, _KEYS = "_q", "_k"  # MoCo's two encoders: that of the keys follows the other
_LISTED = ("shadow_params",)  # an average as a list, whose names are lost


def copies_in(root: Node) -> list[tuple[Node, str]]:
    """Return the nodes that are second copies, and what such copies are.

    >>> from explorer.identify.state.tree import NamedArray, tree_of
    >>> paths = ["params/kernel", "target_params/kernel", "target_head/kernel"]
    >>> rows = [NamedArray(tuple(path.split("/")), (4, 3)) for path in paths]
    >>> [(node.name, rule) for node, rule in copies_in(tree_of(rows))]
    [('target_params', 'target copies')]
    """
    named = [
        node for node in root.nodes() if any(word.search(node.name) for _, word in _WORDS)
    ]
    found: dict[int, tuple[Node, str]] = {}
    for rule, word in _WORDS:
        for node in named:
            if id(node) not in found and word.search(node.name) and node.form:
                originals = _originals(node, word)
                if any(
                    id(other) not in found and _is_copy(node, other) for other in originals
                ):
                    found[id(node)] = node, rule
    for node in root.nodes():
        sibling = _queries_of(node)
        if node.name in _LISTED or (sibling is not None and _is_copy(node, sibling)):
            found.setdefault(id(node), (node, _WORDS[0][0]))
    return list(found.values())


def _queries_of(node: Node) -> Node | None:
    if not node.name.endswith(_KEYS) or node.parent is None or not node.children:
        return None
    return node.parent.children.get(node.name.removesuffix(_KEYS) + _QUERIES)


def _originals(node: Node, word: re.Pattern[str]) -> list[Node]:
    """Return the neighbours that a node may be a copy of, by their names."""
    parent = node.parent
    siblings = parent.children.values() if parent else ()
    bare = word.sub("", node.name).strip("_").lower()
    return [
        other
        for other in siblings
        if other is not node and _is_named(other.name.lower(), bare)
    ]


def _is_named(name: str, bare: str) -> bool:
    if not bare or bare in _ORIGINALS:
        known = name in _ORIGINALS or bool(_COUNTERPART.search(name))
        return known or bare in name.split("_")
    return name == bare or _COUNTERPART.sub("", name).strip("_") == bare


def _is_copy(node: Node, other: Node) -> bool:
    """Return whether all that a node holds is in the other one too, wrappers aside."""
    return any(
        mine.form and mine.form <= theirs.form
        for mine in _opened(node)
        for theirs in _opened(other)
    )


def _opened(node: Node) -> Iterator[Node]:
    """Yield a node, and what is in it while it holds one thing beside numbers."""
    yield node
    while not node.holds_arrays:
        inside = [child for child in node.children.values() if child.form]
        if len(inside) != 1:
            return
        node = inside[0]
        yield node
