"""What `Inventory.select` is given, checked: a misspelt word selects nothing silently nowhere."""

from collections.abc import Iterable, Sequence
from typing import get_args

from explorer import dtypes
from explorer.errors import InputError, first_few, printable, shown
from explorer.inventory.tensor import Component, Kind, Role

__all__ = ["check_glob", "check_words", "no_such_tensor", "nothing_matches"]

_ROLES = (*get_args(Role), "weight")
_COMPONENTS = get_args(Component)
# Flax's names and explorer's own; an inventory may have collections of other names
_COLLECTIONS = (
    "params", "batch_stats", "buffers", "cache", "opt_state", "rng_state", "quantization",
    "ema", "state", "intermediates", "constants",
)  # fmt: skip


def check_glob(glob: object) -> None:
    """Refuse a glob that is not text.

    Raises:
        InputError: it is of another type.
    """
    if not isinstance(glob, str):
        raise InputError(
            "glob", found=f"is {type(glob).__name__}", expected='a str such as "**/bias"'
        )


def check_words(
    kinds: Iterable[Kind],
    role: str | None,
    component: str | None,
    dtype: str | None,
    collection: str | None,
) -> None:
    """Refuse words that no tensor of any model has.

    Raises:
        InputError: an unknown word; the message lists those that there are.
    """
    kinds = list(kinds)
    present = dict.fromkeys(kind.collection for kind in kinds if kind.collection)
    formats = dict.fromkeys(kind.dtype for kind in kinds)
    _check("role", role, _ROLES)
    _check("component", component, _COMPONENTS)
    _check("collection", collection, list(dict.fromkeys((*present, *_COLLECTIONS))))
    is_format = isinstance(dtype, str) and dtypes.find(dtype).kind != "text"
    if not is_format:
        _check("dtype", dtype, list(formats))


def _check(place: str, word: object, known: Sequence[str]) -> None:
    if word is None or word in known:
        return
    near = _nearest(word, known, 1) if isinstance(word, str) else []
    raise InputError(
        place,
        found=shown(word, 60),
        expected=" or ".join(known) or "None",
        cure=f"did you mean {near[0]}?" if near else "",
    )


def nothing_matches(target: str, glob: str, names: Iterable[str]) -> InputError:
    """Return the error of a glob that matches none of a target's names.

    >>> print(nothing_matches("model", "dense/kernal", ["dense/kernel", "dense/bias"]))
    model: no tensor matches 'dense/kernal'; did you mean dense/kernel?
    """
    names = list(names)
    wanted = glob.strip("*/").replace(".", "/")
    near = _nearest(wanted, names, 3) or _nearest_ending(wanted, names)
    if near:
        cure = f"did you mean {' or '.join(map(printable, near))}?"
    else:
        cure = f"its tensors are {first_few(map(printable, names))}" if names else ""
    found = f"no tensor matches {shown(glob, 100)}"
    return InputError(target or "glob", found=found, cure=cure)


class _NoSuchTensorError(InputError, KeyError):
    """A name that no tensor has."""

    __str__ = Exception.__str__  # a KeyError shows its argument's repr


def no_such_tensor(target: str, name: object, names: Iterable[str]) -> KeyError:
    """Return the error of a name that no tensor has.

    >>> print(no_such_tensor("model", "bais", ["bias", "kernel"]))
    model: has no tensor 'bais'; did you mean bias?
    """
    names = list(names)
    near = _nearest(name, names, 3) if isinstance(name, str) else []
    rest = f"its tensors are {first_few(map(printable, names))}" if names else ""
    cure = f"did you mean {' or '.join(map(printable, near))}?" if near else rest
    found = f"has no tensor {shown(name, 100)}"
    return _NoSuchTensorError(target, found=found, cure=cure)


_MOST = 20_000  # names that are compared


def _nearest(word: str, known: Sequence[str], most: int) -> list[str]:
    import difflib  # seldom needed

    word = word[:100]
    near = difflib.get_close_matches(word, known[:_MOST], most, 0.6)
    close = [difflib.SequenceMatcher(None, name, word).ratio() for name in near]
    # long paths share most of their letters: only those as near as the first are shown
    return [name for name, ratio in zip(near, close) if ratio > close[0] - 0.05]


def _nearest_ending(wanted: str, names: Sequence[str]) -> list[str]:
    """Return the names whose last name is nearest to that of a glob."""
    last = wanted.rpartition("/")[2].strip("*")
    endings = dict.fromkeys(name.rpartition("/")[2] for name in names[:_MOST])
    near = _nearest(last, list(endings), 1)
    return [f"**/{near[0]}"] if near and last else []
