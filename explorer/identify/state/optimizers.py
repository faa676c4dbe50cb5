"""Optimizer state under any name and at any depth, recognised by its structure.

optax keeps moments in trees of the parameters' structure, beside counters, in NamedTuples
with the fields below (optax 0.2.6); Orbax and msgpack write the fields and lose the types.
"""

import re

from explorer.identify.state.repeats import Repeats
from explorer.identify.state.tree import Node

__all__ = ["optimizers_in"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Of each state: the fields that hold trees of the parameters' structure, then all others.
_STATES = tuple(
    (_names(slots), _names(slots) | _names(others))
    for slots, others in (
        ("mu nu nu_max", "count ns_coeffs hessian_fn_state"),
        ("trace", ""),
        ("ema", "count"),
        ("v_row v_col v", "count"),
        ("acc_grads", "mini_step gradient_step inner_opt_state skip_state"),
        ("grad_acc", "count"),
        ("avg_grad", "micro_step ready"),
        ("z", "b1 weight_sum step_count step_size max_lr base_optimizer_state"),
        ("e_g e_x", ""),
        ("m v n g", "t count step"),
        ("m1 m2 nu", "count count_m2"),
        ("sum_of_squares", ""),
        ("step_sizes prev_updates", ""),
        ("previous_gradient", "is_initial_step"),
        ("exp_avg exp_avg_sq grad_sum params0", "estim_lr numerator_weighted count"),
        ("exp_avg exp_avg_sq", "barf gamma lb count"),
        ("grad_sum_sq s x0", "count"),
        ("m v s x0 r", "base_optimizer_state count"),
        ("init_params", "is_init_step max_dist sum_sq_norm_grads"),
        ("init_params", "weighted_sq_norm_grads estim_sq_dist"),
        ("init_particles cumulative_gradients scale subgradients reward", ""),
        ("diff_params_memory diff_updates_memory", "params updates count weights_memory"),
        ("adv_state", "cache steps_since_sync opt_state"),
        ("grad", "learning_rate value info"),
        # PyTorch, of one parameter
        ("exp_avg exp_avg_sq max_exp_avg_sq exp_inf", "step mu_product"),
        ("momentum_buffer", ""),
        ("square_avg grad_avg momentum_buffer acc_delta", "step"),
        ("sum", "step"),
        ("prev step_size", "step"),
    )
)
_SLOTS = frozenset[str]().union(*(slots for slots, _ in _STATES))
# fields that no other thing has for a name: one of them beside a counter is enough
_OWN = _names(
    """
    mu nu nu_max v_row v_col acc_grads e_g e_x exp_avg exp_avg_sq max_exp_avg_sq
    momentum_buffer square_avg acc_delta trace grad_sum_sq diff_params_memory grad_acc
    sum_of_squares avg_grad previous_gradient prev_updates step_sizes init_params
    init_particles cumulative_gradients subgradients
    """
)
# names that are enough, and names that need a tree of the parameters' structure inside
_SURE = re.compile(r"^(.*_)?(opt|optim|optimi[sz]ers?|tx)_?states?$")
_LIKELY = re.compile(
    r"(^|_)(opt|optim|optimi[sz]ers?|tx|adam|adamw|adamax|nadam|radam|sgd|lion|lamb|lars|"
    r"muon|adafactor|adagrad|adadelta|rmsprop|shampoo|sophia|yogi|momenta?|momentum|velocity|"
    r"accumulators?|slots?)s?(_|$)",
    re.IGNORECASE,
)


def optimizers_in(root: Node) -> list[Node]:
    """Return the outermost nodes that hold optimizer state and nothing else of weight.

    >>> from explorer.identify.state.tree import NamedArray, tree_of
    >>> shapes = {"net/kernel": (4, 3), "o/0/count": (), "o/0/mu/kernel": (4, 3)}
    >>> rows = [NamedArray(tuple(path.split("/")), shape) for path, shape in shapes.items()]
    >>> [node.name for node in optimizers_in(tree_of(rows))]
    ['o']
    """
    nodes = list(root.nodes())
    if not any(node.name in _SLOTS or _is_named_so(node) for node in nodes):
        return []
    repeats = Repeats(nodes)
    found: dict[int, Node] = {}
    for node in reversed(nodes):  # children before their parents
        if node.children and (
            _is_state(node, repeats) or _is_named(node, repeats) or _holds_only(node, found)
        ):
            found[id(node)] = node
    return [node for node in found.values() if id(node.parent) not in found]


def _is_named_so(node: Node) -> bool:
    return bool(_SURE.match(node.name) or _LIKELY.search(node.name))


def _is_state(node: Node, repeats: Repeats) -> bool:
    """Return whether a node's children are the fields of one optax or PyTorch state."""
    names = node.children.keys()
    for slots, fields in _STATES:
        held = [node.children[name] for name in names & slots]
        trees = [child for child in held if child.arrays]
        if not names <= fields:
            continue
        if len(names & slots & _OWN) > 1 and len(names) > len(held):
            return True  # also of a parameter that is a single number
        if not trees:
            continue
        counted = any(_is_numbers(node.children[name]) for name in names - slots)
        equal = len(trees) > 1 and trees[0].digest == trees[1].digest
        if not _OWN.isdisjoint(names):
            if counted or equal or any(repeats.has(child, node) for child in trees):
                return True
        elif counted and (equal or any(repeats.has(c, node) for c in trees)):
            return True
    return False


def _is_named(node: Node, repeats: Repeats) -> bool:
    """Return whether a node's name says so, with the parameters' structure inside it."""
    if _SURE.match(node.name):
        return True
    if not _LIKELY.search(node.name):
        return False
    inside = (child for child in node.nodes() if child.children and child.arrays > 1)
    return any(repeats.has(child, node) for child in inside)


def _is_numbers(node: Node) -> bool:
    return not node.arrays


def _holds_only(node: Node, found: dict[int, Node]) -> bool:
    """Return whether a node holds optimizer state, counters and nothing else."""
    children = node.children.values()
    return (
        not node.own
        and any(id(child) in found for child in children)
        and all(id(child) in found or _is_numbers(child) for child in children)
    )
