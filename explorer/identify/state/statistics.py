"""Statistics that a layer or a normaliser measures, known by what is beside them."""

import re
from collections.abc import Iterable, Iterator

from explorer.identify.state.tree import Node
from explorer.paths import name_set, unboxed

__all__ = ["needs_neighbours", "statistics_in"]


_MEANS = name_set("mean running_mean moving_mean mean_ema avg_mean _mean rm loc μ")
_SPREADS = name_set(
    "var _var _std variance std stddev std_dev running_var running_std moving_variance moving_var var_ema "
    "avg_var _variance riv σ² summed_variance sum_of_squares sumsq m2 M2 inv_std istd scale_diag"
)
_GAINS = name_set("scale bias weight gamma beta offset")
_COUNTERS = name_set("count counter n num steps total_count")
# a long pattern, compiled when it is needed
_NORMALISER = (
    r"(norm|normali[sz]e|normali[sz]er|normali[sz]ation|batch_?stats?|bn\d*|rms|statistics|stats|"
    r"scaler|standardi[sz]er|cmvn|whiten(ing)?|preprocess\w*)"
    r"(_?(state|stats|inputs?|outputs?|targets?|\d+))?$"
)
# of data, the module around them says what they are for
_RANGES = name_set("min max q01 q10 q50 q90 q99")
_WHOLE = name_set("mean std min max")
# beside a codebook that is an average of vectors: their averages, and how many each had
_AVERAGES = name_set(
    "embed_avg embedding_avg embed_sum embedding_sum codebook_avg ema_w _ema_w "
    "ema_dw ema_weight embed_ema ema_embed codebook_ema z_avg"
)
_SIZES = name_set(
    "cluster_size cluster_usage ema_cluster_size _ema_cluster_size codebook_usage "
    "embed_count cluster_counts ema_count N"
)
_FLAGS = name_set("inited initted initialized")
_CODES = name_set(
    "embed embedding _embedding embeddings codebook codebooks code_embed weight"
)

# statistics by their own names, whatever stands beside them
_NAMED = name_set(
    "running_mean running_var moving_mean moving_variance moving_var mean_ema var_ema"
)
_DESCRIBING = _MEANS | _SPREADS | _RANGES | _COUNTERS
_BESIDE = (_MEANS | _SIZES | {"min"}) - _NAMED

# PyTorch's batch normalisation
_NORM, _COUNTED = name_set("running_mean running_var"), "num_batches_tracked"
_MOVING = name_set("average counter hidden")  # a moving average of Haiku, and how often
_NUMBER = re.compile("[0-9]+")
_FROZEN = "gains and biases of frozen normalisations"
_RUNNING = "measured statistics"
_CODEBOOK = "codebooks that are moving averages"


def needs_neighbours(paths: Iterable[tuple[str, ...]]) -> bool:
    """Return whether a name means a statistic if others stand beside it.

    >>> needs_neighbours([("bn", "mean")]), needs_neighbours([("bn", "running_mean")])
    (True, False)
    """
    return any(_BESIDE.intersection(unboxed(path)[-1:]) for path in paths)


def statistics_in(root: Node) -> Iterator[tuple[Node, str, str]]:
    """Yield each node that holds a statistic, its collection, and what such arrays are.

    >>> from explorer.identify.state.tree import NamedArray, tree_of
    >>> paths = ["bn/scale", "bn/bias", "bn/mean", "bn/var", "prior/mean", "prior/var"]
    >>> rows = [NamedArray(tuple(path.split("/")), (8,)) for path in paths]
    >>> sorted({(node.parent.name, node.name) for node, *_ in statistics_in(tree_of(rows))})
    [('bn', 'mean'), ('bn', 'var')]
    """
    nodes = list(root.nodes())
    yield from _frozen_norms(nodes)
    for node in nodes:
        names = node.children.keys()
        if not names.isdisjoint(_MEANS) and not names.isdisjoint(_SPREADS):
            yield from _running(node)
        if names and names <= _DESCRIBING:
            yield from _described(node)
        if not names.isdisjoint(_SIZES):
            yield from _codebook(node)
        if names == _MOVING and _is_average(node):
            yield node, "batch_stats", _RUNNING


def _is_average(node: Node) -> bool:
    average, counter, hidden = (node.children[name] for name in sorted(_MOVING))
    return _shape(average) == _shape(hidden) and not counter.arrays


def _frozen_norms(nodes: list[Node]) -> Iterator[tuple[Node, str, str]]:
    """Yield the gains of normalisations that are frozen, in a file where others learn.

    PyTorch's BatchNorm counts batches; FrozenBatchNorm has buffers alone and does not.
    """
    norms = [node for node in nodes if node.children and node.children.keys() >= _NORM]
    # of equal layers the first stands for all
    counted = {_layers_of(node) for node in nodes if _COUNTED in node.children}
    for node in norms if counted else ():
        if node.children.keys() <= _NORM | _GAINS and _layers_of(node) not in counted:
            yield from ((child, "buffers", _FROZEN) for child in _those(node, _GAINS))


def _layers_of(node: Node | None) -> str:
    """Return the names from the root to a node, numbers left out."""
    names = []
    while node is not None:
        names.append(_NUMBER.sub("#", node.name))
        node = node.parent
    return "/".join(names)


def _running(node: Node) -> Iterator[tuple[Node, str, str]]:
    """Yield means and spreads of one shape beside gains of that shape, or beside a count."""
    children = node.children
    means = _those(node, _MEANS)
    shapes = [_shape(mean) for mean in means]
    spreads = [child for child in _those(node, _SPREADS) if _shape(child) in shapes]
    counters = [c for c in _those(node, _COUNTERS) if c.is_leaf and not c.arrays]
    gains = sum(_shape(child) in shapes for child in _those(node, _GAINS))
    alone = children.keys() <= _MEANS | _SPREADS | _COUNTERS | {"num_batches_tracked"}
    are_leaves = all(child.is_leaf for child in (*means, *spreads))
    is_named = _is_normaliser(node)
    if spreads and (
        (is_named and (counters or ((gains or alone) and are_leaves)))
        # the mean and the variance of a network's heads are modules
        or (are_leaves and (counters or gains > 1 or (alone and node.name.isdigit())))
    ):
        for child in (*means, *spreads, *counters):
            if child.name not in _NAMED:
                yield child, "batch_stats", _RUNNING


def _is_normaliser(node: Node) -> bool:
    return re.search(_NORMALISER, node.name, re.IGNORECASE) is not None


def _described(node: Node) -> Iterator[tuple[Node, str, str]]:
    """Yield what describes data and stands alone, inside a normaliser or in all its words.

    LeRobot keeps `normalize_inputs.buffer_action.mean`, later `action.mean` in a file.
    """
    children = node.children.values()
    arrays = [child for child in children if child.arrays]
    around = [part for part in (node, node.parent) if part is not None]
    is_data = node.children.keys() >= _WHOLE or any(map(_is_normaliser, around))
    is_even = len({frozenset(child.shapes) for child in arrays}) == 1 < len(arrays)
    if is_data and is_even and all(child.is_leaf for child in children):
        for child in children:
            if child.name not in _NAMED:
                yield child, "batch_stats", _RUNNING


def _those(node: Node, names: frozenset[str]) -> list[Node]:
    return [node.children[name] for name in node.children.keys() & names]


def _only_array(node: Node) -> Node:
    """Return the weight that a module of nothing else holds, the average of Haiku's average.

    Any other node is returned itself.
    """
    if node.children.keys() == _MOVING:
        return node.children["average"]
    return node.children["weight"] if node.children.keys() == {"weight"} else node


def _shape(node: Node) -> object:
    return node.digest if node.children else frozenset(node.shapes)


def _codebook(node: Node) -> Iterator[tuple[Node, str, str]]:
    """Yield a codebook, its average and the sizes of its clusters."""
    averages = _those(node, _AVERAGES)
    shapes = [_shape(_only_array(average)) for average in averages]
    # a table of its own holds one array
    codes = [
        child
        for code in _those(node, _CODES)
        if _shape(child := _only_array(code)) in shapes
    ]
    if averages:
        for child in (*codes, *averages, *_those(node, _SIZES | _FLAGS)):
            yield child, "buffers", _CODEBOOK
