"""Optimizers by name: what each keeps for a tensor, by arithmetic and without JAX.

Each is that of optax with its default settings, or, in 8 bits, that of bitsandbytes. Tests hold
the table against the state that `init` of optax makes.

References:
    google-deepmind/optax, optax/_src/{alias,transform,factorized}.py and optax/contrib (2025);
    bitsandbytes-foundation/bitsandbytes, bitsandbytes/optim/optimizer.py (2024): blocks of 256
    values with a float32 each, tensors under 4,096 values in float32.
"""

import difflib
from collections.abc import Callable, Iterable
from math import prod
from typing import NamedTuple

from explorer import dtypes
from explorer.errors import InputError, printable
from explorer.sizing.training.slots import Slots

__all__ = ["NAMES", "Tensors", "depends_on_shapes", "named_slots", "parsed_name"]

Shape = tuple[int, ...]


class Tensors(NamedTuple):
    """Equal tensors that are trained: the shape of each, how many, in how many parts."""

    shape: Shape
    copies: int = 1
    shards: int = 1


class _Slot(NamedTuple):
    """An array that is kept; `dtype` None is that of the parameters; `whole`: never split."""

    name: str
    shape: Shape
    dtype: str | None = None
    whole: bool = False


class _Rule(NamedTuple):
    """What is kept for a tensor, and once; whether the slot "mu" may have its own dtype."""

    of: Callable[[Shape], tuple[_Slot, ...]]
    once: tuple[_Slot, ...] = ()
    has_mu_dtype: bool = False
    is_copies: bool = True


def _copies(*names: str) -> Callable[[Shape], tuple[_Slot, ...]]:
    """Return a rule that keeps arrays of the tensor's shape."""
    return lambda shape: tuple(_Slot(name, shape) for name in names)


def _factored(shape: Shape) -> tuple[_Slot, ...]:
    """Adafactor: means over each of the two longest axes, if both have 128 entries."""
    order = sorted(range(len(shape)), key=shape.__getitem__)
    if len(shape) < 2 or shape[order[-2]] < 128:
        return _Slot("v_row", (1,)), _Slot("v_col", (1,)), _Slot("v", shape)

    def without(axis: int) -> Shape:
        return shape[:axis] + shape[axis + 1 :]

    row, column = without(order[-1]), without(order[-2])
    return _Slot("v_row", row), _Slot("v_col", column), _Slot("v", (1,))


def _by_axis(shape: Shape) -> tuple[_Slot, ...]:
    """SM3: a vector for each axis beside a momentum."""
    return *(_Slot("mu", (size,), whole=True) for size in shape), _Slot("nu", shape)


def _muon(shape: Shape) -> tuple[_Slot, ...]:
    """Muon for matrices, AdamW for all else."""
    if len(shape) == 2:
        return (_Slot("mu", shape),)
    return _Slot("mu", shape), _Slot("nu", shape)


def _in_8_bits(*names: str) -> Callable[[Shape], tuple[_Slot, ...]]:
    def of(shape: Shape) -> tuple[_Slot, ...]:
        size = prod(shape)
        if size < 4096:
            return tuple(_Slot(name, shape, "float32") for name in names)
        scales = (-(-size // 256),)
        return tuple(
            slot
            for name in names
            for slot in (
                _Slot(name, shape, "uint8"),
                _Slot(f"{name} scales", scales, "float32"),
            )
        )

    return of


_COUNT = _Slot("count", (), "int32")
_ADAM = _Rule(_copies("mu", "nu"), (_COUNT,))
_ADAM_MU = _ADAM._replace(has_mu_dtype=True)
_SCALARS = tuple(_Slot(name, ()) for name in ("b1", "weight_sum", "max_lr"))


def _codes(number: int) -> tuple[_Slot, ...]:
    return (_Slot("codes", (number, 256), "float32"),)


_RULES = {
    "sgd": _Rule(_copies()),
    "momentum": _Rule(_copies("trace")),
    "lars": _Rule(_copies("trace")),
    "adam": _ADAM_MU,
    "adamw": _ADAM_MU,
    "nadam": _ADAM_MU,
    "nadamw": _ADAM_MU,
    "radam": _ADAM,
    "adamax": _ADAM,
    "adamaxw": _ADAM,
    "adabelief": _ADAM,
    "adopt": _ADAM,
    "lamb": _ADAM,
    "yogi": _ADAM,
    "amsgrad": _Rule(_copies("mu", "nu", "nu_max"), (_COUNT,), has_mu_dtype=True),
    "adan": _Rule(_copies("m", "v", "n", "g"), (_COUNT,)),
    "ademamix": _Rule(_copies("m1", "m2", "nu"), (_COUNT, _COUNT)),
    "adadelta": _Rule(_copies("e_g", "e_x")),
    "adagrad": _Rule(_copies("sum_of_squares")),
    "rmsprop": _Rule(_copies("nu")),
    "rprop": _Rule(_copies("step_sizes", "prev_updates")),
    "lion": _Rule(_copies("mu"), (_COUNT,), has_mu_dtype=True),
    "novograd": _Rule(
        lambda shape: (_Slot("mu", shape), _Slot("nu", ())), (_COUNT,), is_copies=False
    ),
    "sm3": _Rule(_by_axis, is_copies=False),
    "adafactor": _Rule(_factored, (_COUNT,), is_copies=False),
    "muon": _Rule(
        _muon,
        (_COUNT, _COUNT, _Slot("ns_coeffs", (3,), "float32")),
        has_mu_dtype=True,
        is_copies=False,
    ),
    "prodigy": _Rule(
        _copies("exp_avg", "exp_avg_sq", "grad_sum", "params0"),
        (_COUNT, _Slot("estim_lr", ()), _Slot("numerator_weighted", ())),
    ),
    "schedule_free_adamw": _Rule(_copies("z", "nu"), (_COUNT, _COUNT, *_SCALARS)),
    "schedule_free_sgd": _Rule(_copies("z"), (_COUNT, *_SCALARS)),
    "adam8bit": _Rule(_in_8_bits("state1", "state2"), _codes(2), is_copies=False),
    "adamw8bit": _Rule(_in_8_bits("state1", "state2"), _codes(2), is_copies=False),
    "lion8bit": _Rule(_in_8_bits("state1"), _codes(1), is_copies=False),
}
NAMES = tuple(_RULES)
_ALIASES = {
    "schedule_free": "schedule_free_adamw",
    "sgd_momentum": "momentum",
    "adam_8bit": "adam8bit",
    "adamw_8bit": "adamw8bit",
    "lion_8bit": "lion8bit",
}


def parsed_name(text: str) -> tuple[str, str | None]:
    """Return the name of an optimizer and the dtype that its first moment is kept in.

    Raises:
        InputError: no optimizer of that name, or another option than the dtype of "mu".

    >>> parsed_name("AdamW"), parsed_name("adamw:mu=bf16")
    (('adamw', None), ('adamw', 'bfloat16'))
    """
    head, colon, option = text.partition(":")
    name = head.strip().lower().replace("-", "_")
    name = _ALIASES.get(name, name)
    if name not in _RULES:
        near = difflib.get_close_matches(name, NAMES, 1, 0.5)
        raise InputError(
            "optimizer",
            found=f"no optimizer is called {printable(head, 40)!r}",
            expected=f"one of {', '.join(NAMES)}",
            cure=f"did you mean {near[0]}?" if near else "",
        )
    key, _, value = option.partition("=")
    if not colon:
        return name, None
    if key.strip() != "mu" or not _RULES[name].has_mu_dtype:
        takers = ", ".join(each for each, rule in _RULES.items() if rule.has_mu_dtype)
        raise InputError(
            "optimizer",
            found=f"{name} with {printable(option, 40)!r}",
            expected=f"a dtype of the first moment (adamw:mu=bfloat16), of {takers}",
        )
    return name, dtypes.parse("optimizer", value.strip()).name


def depends_on_shapes(name: str) -> bool:
    """Return whether an optimizer keeps other arrays than copies of the parameters.

    What it keeps then depends on whether equal layers are stacked.

    >>> depends_on_shapes("adamw"), depends_on_shapes("adafactor")
    (False, True)
    """
    return not _RULES[parsed_name(name)[0]].is_copies


def named_slots(name: str, tensors: Iterable[Tensors], dtype: str) -> Slots:
    """Return what an optimizer keeps for tensors; with shards, on the fullest device.

    A slot is split as its parameter is where it has the same shape, and is whole elsewhere.

    Args:
        name: as of `parsed_name`.
        tensors: those that are trained.
        dtype: of the parameters, and of the slots whose dtype nothing else says.

    Raises:
        InputError: as `parsed_name`.

    >>> named_slots("adamw", [Tensors((2, 5))], "float32").by_name
    {'mu': 40, 'nu': 40, 'count': 4}
    >>> named_slots("adafactor", [Tensors((256, 512), copies=3)], "float32").bytes
    9232
    """
    short, mu = parsed_name(name)
    rule = _RULES[short]
    found: dict[str, int] = {}

    def add(slot: _Slot, copies: int, shards: int) -> None:
        own = mu if slot.name == "mu" and mu is not None else slot.dtype
        nbytes = dtypes.find(own or dtype).nbytes(prod(slot.shape))
        found[slot.name] = found.get(slot.name, 0) + copies * nbytes // shards

    for each in tensors:
        for slot in rule.of(each.shape):
            follows = slot.shape == each.shape and not slot.whole
            add(slot, each.copies, each.shards if follows else 1)
    for slot in rule.once:
        add(slot, 1, 1)
    return Slots(found)
