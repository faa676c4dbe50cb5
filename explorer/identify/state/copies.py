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
_MOST, _DEEPEST = 64, 4  # neighbours and wrappers looked at: bounds the time
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
    around = {id(node.parent): node.parent for node in named if node.parent}
    neighbours = {key: _Neighbours(parent) for key, parent in around.items()}
    found: dict[int, tuple[Node, str]] = {}
    for rule, word in _WORDS:
        for node in named:
            if id(node) in found or not word.search(node.name) or not node.arrays:
                continue
            originals = neighbours[id(node.parent)].originals(node, word)
            if any(id(other) not in found and _is_copy(node, other) for other in originals):
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


class _Neighbours:
    """The children of a node by what a copy of them may be called."""

    def __init__(self, parent: Node):
        self._by_name: dict[str, list[Node]] = {}
        self._by_word: dict[str, list[Node]] = {}
        self._originals: list[Node] = []
        for node in parent.holding():
            name = node.name.lower()
            bare = _COUNTERPART.sub("", name).strip("_")
            for spelling in {name, bare}:
                self._by_name.setdefault(spelling, []).append(node)
            for word in _ORIGINALS.intersection(name.split("_")):
                self._by_word.setdefault(word, []).append(node)
            if name in _ORIGINALS or bare != name:
                self._originals.append(node)

    def originals(self, node: Node, word: re.Pattern[str]) -> list[Node]:
        """Return those that a node may be a copy of, without the word in its name."""
        bare = word.sub("", node.name).strip("_").lower()
        found = self._by_name.get(bare, []) if bare else []
        if not bare or bare in _ORIGINALS:
            found = [*self._originals, *self._by_word.get(bare, [])]
        return [other for other in found if other is not node][:_MOST]


def _is_copy(node: Node, other: Node) -> bool:
    """Return whether all that a node holds is in the other one too, wrappers aside."""
    return any(
        mine.arrays and mine.is_within(theirs)
        for mine in _opened(node)
        for theirs in _opened(other)
    )


def _opened(node: Node) -> Iterator[Node]:
    """Yield a node, and what is in it while it holds one thing beside numbers."""
    yield node
    for _ in range(_DEEPEST):
        inside = [] if node.own else list(node.holding())
        if len(inside) != 1:
            return
        node = inside[0]
        yield node
