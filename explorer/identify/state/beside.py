"""What a file or a tree keeps beside its model: Flax's other collections, loose values."""

import re
from collections.abc import Iterator

from explorer.identify.state.tree import Node
from explorer.inventory.tensor import PARAMS
from explorer.paths import name_set

__all__ = ["adapter_settings", "beside_models"]


# items that are a model, where a training loop saved several things
_MODELS = name_set(
    """
    params model state_dict model_state_dict model_state net network module weights
    variables online student policy actor generator
    """
)
_PARAMS = re.compile(r"(^|_)(params?|parameters|weights|variables|state_dict|model|net)$")
# what a training loop measures, remembers and sets; long patterns are compiled when needed
_VALUES = (
    r"(^|_)(loss|losses|acc|accuracy|accuracies|metrics?|scores?|history|histories|rewards?|"
    r"returns?|epochs?|steps?|iters?|iter_num|iterations?|lrs?|learning_rates?|schedules?|"
    r"schedulers?|seeds?|logs?|perplexity|ppl|fid|elapsed|progress|counters?|counts?|entropy|"
    r"kl|grad_norms?|normali[sz]ers?|statistics|stats|rms)$"
)
# leaves that only a layer has
_LEARNED = name_set("kernel embedding weight bias w b scale gamma beta")
_MATRICES = name_set("kernel embedding weight w bias")

_FACTORS = re.compile(r"^(lora|loha|hada|lokr|oft|boft|diff|glora|ia3)_?")
# peft's matrices that are drawn once and shared, and the vectors that are learned for them
_DRAWN = (
    (name_set("vera_A vera_B"), "vera_lambda_"),
    (name_set("randlora_A randlora_B"), "randlora_lambda"),
)
_PROJECTIONS = ("buffers", "fixed projections of adapters")
_LOOSE = ("state", "values beside the model")


def beside_models(root: Node) -> Iterator[tuple[Node, str, str]]:
    """Yield each node that stands beside a model, its collection, and what it holds.

    >>> from explorer.identify.state.tree import NamedArray, tree_of
    >>> shapes = {"params/kernel": (4, 3), "codebook/codes": (9, 3), "best_loss": ()}
    >>> rows = [NamedArray(tuple(path.split("/")), shape) for path, shape in shapes.items()]
    >>> [(node.name, word) for node, word, _ in beside_models(tree_of(rows))]
    [('codebook', 'codebook'), ('best_loss', 'state')]
    """
    for holder in (root, *root.children.values()):
        names = holder.children.keys()
        models = [
            holder.children[n] for n in names & _MODELS if holder.children[n].children
        ]
        models = [model for model in models if model.arrays]
        if not models:
            continue
        of_flax = any(model.name == PARAMS for model in models)
        for name, child in holder.children.items():
            if child in models:
                continue
            if _is_value(child) or (of_flax and child.is_leaf):
                yield child, *_LOOSE
            elif of_flax and not _is_model(child):
                yield child, name, "arrays of other collections"


def _is_value(node: Node) -> bool:
    """Return whether a name and arrays of at most one axis are what a training loop keeps."""
    return (
        all(len(shape) < 2 for child in node.nodes() for shape in child.own)
        and re.search(_VALUES, node.name, re.IGNORECASE) is not None
        and not any(child.is_leaf and child.name in _LEARNED for child in node.nodes())
    )


def _is_model(node: Node) -> bool:
    """Return whether an item beside `params` is parameters too: by its name or its leaves."""
    return bool(_PARAMS.search(node.name)) or any(
        (child.name in _MATRICES and child.is_leaf) or child.name == PARAMS
        for child in node.nodes()
    )


def adapter_settings(root: Node) -> Iterator[tuple[Node, str, str]]:
    """Yield what adapters keep and do not learn.

    The numbers `alpha` scale the factors of a low-rank adapter beside them; VeRA's matrices
    are drawn once, and only vectors learned.

    >>> from explorer.identify.state.tree import NamedArray, tree_of
    >>> shapes = {"q/lora_down/weight": (4, 64), "q/alpha": (), "prelu/alpha": ()}
    >>> rows = [NamedArray(tuple(path.split("/")), shape) for path, shape in shapes.items()]
    >>> [node.parent.name for node, *_ in adapter_settings(tree_of(rows))]
    ['q']
    """
    nodes = list(root.nodes())
    for node in nodes:
        alpha = node.children.get("alpha")
        if alpha and not alpha.arrays and any(map(_FACTORS.search, node.children)):
            yield alpha, "buffers", "scales of adapters"
    for drawn, learned in _DRAWN:
        found = [node for node in nodes if node.name in drawn]
        if found and any(node.name.startswith(learned) for node in nodes):
            yield from ((node, *_PROJECTIONS) for node in found)
