"""Optimizer state under any name and at any depth, recognised by its structure.

optax keeps moments in trees of the parameters' structure, beside counters, in NamedTuples
with the fields below (optax 0.2.6); Orbax and msgpack write the fields and lose the types.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache

from explorer.identify.state.repeats import Repeats
from explorer.identify.state.tree import Node
from explorer.paths import name_set

__all__ = ["optimizers_in"]


# Of each state: the fields that hold trees of the parameters' structure, then all others.
_STATES = tuple(
    (name_set(slots), name_set(slots) | name_set(others))
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
# fields that few other things have for a name: one of them needs no counter beside it
_OWN = name_set(
    """
    mu nu nu_max v_row v_col acc_grads e_g e_x exp_avg exp_avg_sq max_exp_avg_sq
    momentum_buffer square_avg acc_delta trace grad_sum_sq diff_params_memory grad_acc
    sum_of_squares avg_grad previous_gradient prev_updates step_sizes init_params
    init_particles cumulative_gradients subgradients
    """
)
_FACTORS = name_set("v_row v_col")
# numbers of an optimizer that are an array
_SETTINGS = name_set("ns_coeffs")
_SIGNS = name_set("weight_sum")  # fields of one number that only an optimizer has
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

    A state is known by its fields and by the parameters' structure, found again outside it;
    two heads called `mu` and `nu` are not one.

    >>> from explorer.identify.state.tree import NamedArray, tree_of
    >>> shapes = {"net/kernel": (4, 3), "o/0/count": (), "o/0/mu/kernel": (4, 3)}
    >>> rows = [NamedArray(tuple(path.split("/")), shape) for path, shape in shapes.items()]
    >>> [node.name for node in optimizers_in(tree_of(rows))]
    ['o']
    """
    nodes = list(root.nodes())
    if not any(node.name in _SLOTS or _says_so(node) for node in nodes):
        return []
    repeats, alone = cache(lambda: Repeats(nodes)), _holds_slots_alone(root)
    found: dict[int, Node] = {}
    for node in reversed(nodes):  # children before their parents
        if node.children and (
            _is_state(node, repeats, alone)
            or _SURE.match(node.name)
            or (_LIKELY.search(node.name) and _is_covered(node, repeats, found))
            or (found and _holds_only(node, found))
        ):
            found[id(node)] = node
    return [node for node in found.values() if id(node.parent) not in found]


def _says_so(node: Node) -> bool:
    return bool(_SURE.match(node.name) or _LIKELY.search(node.name))


def _holds_slots_alone(root: Node) -> bool:
    """Return whether every array of a tree stands under the name of an optimizer's field."""
    stack = [root]
    while stack:
        node = stack.pop()
        if node.name not in _SLOTS and node.name not in _SETTINGS:
            if node.own:
                return False
            stack.extend(node.holding())
    return True


def _is_state(node: Node, repeats: Callable[[], Repeats], alone: bool) -> bool:
    """Return whether a node's children are the fields of one optax or PyTorch state."""
    names = node.children.keys()
    if _SLOTS.isdisjoint(names):
        return False
    for slots, fields in _STATES:
        if not names <= fields:
            continue
        trees = [child for name in names & slots if (child := node.children[name]).arrays]
        own = names & _OWN & slots
        counted = any(not node.children[name].arrays for name in names - slots)
        if not trees:
            if len(own) > 1 and counted:
                return True  # of a parameter that is a single number
        elif (own or counted) and _is_of_parameters(
            node, trees, repeats, alone, counted and bool(own or names & _SIGNS)
        ):
            return True
        elif counted and names >= _FACTORS and all(child.children for child in trees):
            return True  # its arrays have other shapes than the parameters
    return False


def _is_of_parameters(
    node: Node,
    trees: list[Node],
    repeats: Callable[[], Repeats],
    alone: bool,
    is_sure: bool,
) -> bool:
    """Return whether trees in a node are those of parameters, and not modules of a network.

    A state that was saved alone has no name around it.
    """
    is_placed = node.name.isdigit() or any(map(_says_so, _around(node)))
    is_all = alone and (is_placed or (node.parent is None and is_sure))
    if not all(tree.children for tree in trees):
        # of a parameter that is an array
        return any(map(_says_so, _around(node))) or (is_all and is_sure)
    if any(repeats().has(tree, node) for tree in trees):
        is_deep = any(inner.children for tree in trees for inner in tree.holding())
        return is_placed or is_deep
    return is_all


def _around(node: Node | None, levels: int = 4) -> Iterator[Node]:
    """Yield a node and those around it."""
    while node is not None and levels:
        yield node
        node, levels = node.parent, levels - 1


def _is_covered(node: Node, repeats: Callable[[], Repeats], found: dict[int, Node]) -> bool:
    """Return whether a node holds trees of the parameters' structure, a counter, no more."""
    counters, stack = 0, [node]
    while stack:
        for child in stack.pop().children.values():
            if not child.arrays or id(child) in found:
                counters += 1
            elif not repeats().has(child, node):
                if child.own:
                    return False
                stack.append(child)
    return counters > 0


def _holds_only(node: Node, found: dict[int, Node]) -> bool:
    """Return whether a node holds optimizer state, counters and nothing else."""
    children = node.children.values()
    return (
        not node.own
        and any(id(child) in found for child in children)
        and all(id(child) in found or not child.arrays for child in children)
    )
