"""Second copies of the parameters: averages, targets, teachers, earlier and best values.

A copy is known by two things together: its name, and a neighbour whose name is its own
without that word and which holds arrays of all its names and shapes. Two towers of equal
shapes are not copies, nor is a `target_embedding` beside a `source_embedding`.
"""

import re
from collections.abc import Iterable, Iterator

from explorer.identify.state.tree import Node, Shape
from explorer.paths import name_set

__all__ = ["copies_in"]


# words of a name that say nothing of which network it is
_GENERIC = name_set(
    "params parameters model state dict variables weights net network module"
)
# words of the original beside its copy
_COUNTERPARTS = name_set("online student main current learner base local policy")
# names of a whole model: an `old_policy` is a copy of it, an `init_conv` is not one of a conv
_WHOLE = name_set("params parameters model state_dict policy variables weights")
# networks that come in pairs of one shape: a copy's original says online, or the like
_TOWERS = name_set(
    "encoder decoder embed embedding embeddings embedder emb head vocab unet"
)
# a copy that no such word marks, and its originals
_PAIRS = {
    "encoder_k": name_set("encoder_q"),
    "base_encoder_k": name_set("base_encoder_q"),
    "momentum_encoder": name_set("encoder base_encoder online_encoder"),
}
# ALBEF and BLIP: every network of a model has a copy that momentum moves
_MOMENTUM = "_m"
_NETWORKS = name_set("encoder decoder model unet transformer backbone net")
# a copy without the tree of its original: mmcv joins the names by "_", LitEma by nothing
_EMA = "ema"
_BETWEEN, _DIGITS = re.compile("[^a-z0-9]+"), re.compile("[0-9]+")
_LOOKAHEAD = "steps_since_sync"  # optax counts them where slow parameters follow fast ones
_LISTED = "shadow_params"  # an average as a list, whose names are lost
_MOST, _DEEPEST = 64, 4  # neighbours and wrappers compared: bounds the time

# what such copies are, their words, and the names without them that are copies; a target may
# be the original of an average
_WORDS: tuple[tuple[str, frozenset[str], frozenset[str] | None], ...] = (
    (
        "moving averages of parameters",
        name_set("ema swa averaged average averages polyak"),
        None,
    ),
    ("moving averages of parameters", name_set("avg shadow"), _WHOLE),
    ("teacher copies", name_set("teacher"), _WHOLE | {"", "net", "network"}),
    (
        "earlier copies",
        name_set("old prev previous best ref reference init initial"),
        _WHOLE,
    ),
    ("target copies", name_set("targ target targets"), None),
)
_ALL = frozenset[str]().union(*(words for _, words, _ in _WORDS))


def copies_in(root: Node, states: Iterable[Node] = ()) -> list[tuple[Node, str]]:
    """Return the nodes that are second copies, and what such copies are.

    `states` are nodes of optimizer state: a train state holds its parameters beside one.

    >>> from explorer.identify.state.tree import NamedArray, tree_of
    >>> paths = ["params/kernel", "target_params/kernel", "target_head/kernel"]
    >>> rows = [NamedArray(tuple(path.split("/")), (4, 3)) for path in paths]
    >>> [(node.name, rule) for node, rule in copies_in(tree_of(rows))]
    [('target_params', 'target copies')]
    """
    nodes = list(root.nodes())
    named = [
        n for n in nodes if n.arrays and n.parent and not _ALL.isdisjoint(_split(n.name))
    ]
    around = {id(node.parent): node.parent for node in named if node.parent}
    neighbours = {key: _Neighbours(parent) for key, parent in around.items()}
    found: dict[int, tuple[Node, str]] = {}
    beside = frozenset(map(id, states))
    for rule, words, wholes in _WORDS:
        for node in named:
            if id(node) in found or words.isdisjoint(_words(node.name)):
                continue
            bare = "_".join(w for w in node.name.lower().split("_") if w not in words)
            if wholes is not None and bare not in wholes:
                continue
            is_target = words is _WORDS[-1][1]
            originals = neighbours[id(node.parent)].originals(node, bare, is_target)
            if any(
                id(other) not in found and _is_copy(node, other, beside)
                for other in originals
            ):
                found[id(node)] = node, rule
    for node in (
        *_listed_or_paired(nodes),
        *_momentum_copies(nodes),
        *_flat_copies(nodes),
    ):
        found.setdefault(id(node), (node, _WORDS[0][0]))
    return list(found.values())


def _words(name: str) -> frozenset[str]:
    return frozenset(_split(name))


def _split(name: str) -> list[str]:
    return name.lower().split("_")


def _listed_or_paired(nodes: list[Node]) -> Iterator[Node]:
    is_lookahead = any(node.name == _LOOKAHEAD for node in nodes)
    root = nodes[0]
    for node in nodes:
        beside = node.parent.children if node.parent else {}
        is_slow = is_lookahead and node.name == "slow" and "fast" in beside
        if (
            (node.name == _LISTED and root.arrays > node.arrays)  # alone it is the model
            or _follows_pair(node)
            or (is_slow and _is_copy(node, beside["fast"]))
        ):
            yield node


def _momentum_copies(nodes: list[Node]) -> Iterator[Node]:
    """Yield the modules `x_m` that repeat a neighbour `x`, if whole networks are among them.

    A single pair, or one of layers, may be anything: `fc` and `fc_m` are two layers.
    """
    for node in nodes:
        names = node.children.keys()
        pairs = [
            child
            for name in names
            if name.endswith(_MOMENTUM) and name.removesuffix(_MOMENTUM) in names
            if (child := node.children[name]).children
            and _is_copy(child, node.children[name.removesuffix(_MOMENTUM)])
        ]
        if len(pairs) > 1 and any(not _NETWORKS.isdisjoint(_words(p.name)) for p in pairs):
            yield from pairs


def _flat_copies(nodes: list[Node]) -> Iterator[Node]:
    """Yield the arrays whose names are those of others, whole paths in one name.

    mmcv: `ema_backbone_conv1_weight`; LitEma: `model_ema.diffusion_modelout2weight`.
    """
    flat = [node for node in nodes if node.own and _is_around(_EMA, node)]
    if not flat:
        return
    known: set[tuple[str, frozenset[Shape]]] = set()
    for node in nodes:
        if node.own and not _is_around(_EMA, node):
            name, above = node.name, node.parent
            while above is not None and above.name:
                name, above = above.name + name, above.parent
                known.add((_squeezed(name), frozenset(node.own)))
    for node in flat:
        name = node.name.removeprefix(f"{_EMA}_")
        if (_squeezed(name), frozenset(node.own)) in known:
            yield node


def _is_around(word: str, node: Node) -> bool:
    """Return whether a node's name, or that of the one around it, has a word."""
    names = (node.name, node.parent.name if node.parent else "")
    return any(word in name.lower() and word in _split(name) for name in names)


def _squeezed(name: str) -> str:
    """Return a name without what may stand between its parts, equal for all layers."""
    return _DIGITS.sub("#", _BETWEEN.sub("", name.lower()))


def _follows_pair(node: Node) -> bool:
    if node.name not in _PAIRS:
        return False
    siblings = node.parent.children if node.parent else {}
    originals = _PAIRS.get(node.name, frozenset()) & siblings.keys()
    return any(_is_copy(node, siblings[name]) for name in originals)


class _Neighbours:
    """The children of a node by what a copy of them may be called."""

    def __init__(self, parent: Node):
        self._by_essence: dict[frozenset[str], list[Node]] = {}
        self._by_generic: dict[str, list[Node]] = {}
        for node in parent.holding():
            words = _words(node.name)
            self._by_essence.setdefault(_essence(words), []).append(node)
            for word in words & _GENERIC:
                self._by_generic.setdefault(word, []).append(node)

    def originals(self, node: Node, bare: str, is_target: bool) -> list[Node]:
        """Return those that a node may be a copy of, by its name without the copy's word."""
        words = _words(bare)
        essence = _essence(words)
        found = list(self._by_essence.get(essence, ()))
        if not essence:
            found += [
                n for word in words & _GENERIC for n in self._by_generic.get(word, ())
            ]
        elif is_target and not essence.isdisjoint(_TOWERS):
            found = [n for n in found if not _COUNTERPARTS.isdisjoint(_words(n.name))]
        return [other for other in found if other is not node][:_MOST]


def _essence(words: frozenset[str]) -> frozenset[str]:
    """Return the words that say which network it is."""
    return words - _GENERIC - _COUNTERPARTS - _ALL - {""}


def _is_copy(node: Node, other: Node, states: frozenset[int] = frozenset()) -> bool:
    """Return whether all that a node holds is in the other one too, wrappers aside."""
    return any(
        mine.arrays and mine.is_within(theirs)
        for mine in _opened(node, states)
        for theirs in _opened(other, states)
    )


def _opened(node: Node, states: frozenset[int]) -> Iterator[Node]:
    """Yield a node, and what is in it while it holds one thing beside numbers and states."""
    yield node
    for _ in range(_DEEPEST):
        inside = [] if node.own else [n for n in node.holding() if id(n) not in states]
        if len(inside) != 1:
            return
        node = inside[0]
        yield node
