"""Which tensors an architecture has, and which a checkpoint holds: do they fit?

By names and shapes alone, so that a header is enough.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import msgspec

from explorer.architectures.architecture import Architecture
from explorer.architectures.families import architecture_of, names_of
from explorer.architectures.names import (
    Names,
    Stored,
    count_stored,
    each_stored,
    spare_tensors,
    spelled_bare,
    stored_tensors,
)
from explorer.errors import InputError, printable
from explorer.identify.extra_layers import COLLECTION, mark
from explorer.identify.state import state_of
from explorer.paths import path_of

__all__ = ["Fit", "fit", "fitting_class", "is_bare", "listed"]

Shape = tuple[int, ...]
_SHOWN = 3
# a config that stores more than this for the tensors that are there is of another model:
# what it stores is counted, not listed
_TIMES, _MORE = 10, 10_000
# how the classes of one family end
_ENDINGS = (
    "LMHeadModel",
    "ForCausalLM",
    "ForPreTraining",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForImageClassification",
    "TextModel",
    "Model",
)


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How a checkpoint's tensors fit an architecture.

    `stored` are the tensors to read, by name, and `declared` how many the architecture
    stores. `seconds` are second names of tied tensors that are there too, and the names
    that are read in their place: their values must be the same. What does not fit: names
    that are `missing` or `unexpected` with their shapes, and `misshapen` ones with the shape
    found and the shape expected. Where far more are declared than there are tensors,
    `missing` has the first few alone, of at least `lacking`, and nothing else is told.
    """

    class_name: str
    declared: int
    lacking: int
    missing: dict[str, Shape]
    stored: dict[str, Stored] = {}
    seconds: dict[str, str] = {}
    unexpected: dict[str, Shape] = {}
    misshapen: dict[str, tuple[Shape, Shape]] = {}

    @property
    def whole(self) -> bool:
        """Whether every tensor is there, in its shape, and no other."""
        return not (self.missing or self.unexpected or self.misshapen)

    def require(self, place: str, *, model: str = "", cure: str = "") -> None:
        """Raise the one-line error of a checkpoint that does not fit.

        Args:
            place: the checkpoint.
            model: whose tensors are expected; those of a config's class without.
            cure: what the reader can do; to give the right config without.

        Raises:
            InputError: it names what is missing, left over or of another shape.
        """
        if self.whole:
            return
        of = model or f"this config's {self.class_name}"
        raise InputError(
            place,
            found=" and ".join(self._faults()),
            expected=f"the {self.declared:,} tensors of {of}",
            cure=cure or "give the config that was saved with these weights",
        )

    def _faults(self) -> list[str]:
        faults = []
        if self.missing:
            least = self.lacking > len(self.missing)
            missing = listed(map(_shaped, self.missing.items()), self.lacking, least)
            faults.append(f"lacks {missing}")
        if self.unexpected:
            unexpected = listed(map(_shaped, self.unexpected.items()))
            faults.append(f"holds unexpected {unexpected}")
        if self.misshapen and not faults:
            misshapen = listed(
                f"{printable(name)} {list(found)} where {list(wanted)} is expected"
                for name, (found, wanted) in self.misshapen.items()
            )
            faults.append(f"holds {misshapen}")
        return faults


def fit(architecture: Architecture, names: Names, shapes: Mapping[str, Shape]) -> Fit:
    """Return how the tensors of a checkpoint fit an architecture.

    Names are read with or without the family's base prefix, whichever more of them have.
    Second names of tied tensors, buffers that a forward pass makes for itself and
    multi-token-prediction layers may be there and are left out. Time and memory are
    bounded by what is there, whatever the architecture declares.

    Args:
        architecture: the model.
        names: how its checkpoints name its tensors.
        shapes: what the checkpoint holds.
    """
    bare = spelled_bare(architecture, names, shapes, is_bare(architecture))
    declared = count_stored(architecture, names, bare, shapes)
    if declared > _TIMES * len(shapes) + _MORE:
        every = each_stored(architecture, names, bare, shapes)
        absent = ((name, tensor.shape) for name, tensor in every if name not in shapes)
        return Fit(
            class_name=architecture.class_name,
            declared=declared,
            lacking=declared - len(shapes),
            missing=dict(islice(absent, _SHOWN)),
        )
    spare = spare_tensors(architecture, names, bare)
    spare = {name: tensor for name, tensor in spare.items() if name in shapes}
    stored = stored_tensors(architecture, names, bare, shapes)
    stored = _with_second_names(stored, spare, shapes)
    known = stored | spare
    missing = {n: tensor.shape for n, tensor in stored.items() if n not in shapes}
    return Fit(
        class_name=architecture.class_name,
        declared=declared,
        lacking=len(missing),
        missing=missing,
        stored=stored,
        seconds=_seconds(stored, spare),
        unexpected=_unexpected({n: s for n, s in shapes.items() if n not in known}),
        misshapen={
            name: (shapes[name], tensor.shape)
            for name, tensor in known.items()
            if name in shapes and shapes[name] != tensor.shape
        },
    )


def fitting_class(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> str | None:
    """Return the class, of the others that a config's family has, that tensors fit whole.

    Args:
        config: the content of a config.json whose own class does not fit.
        shapes: what the checkpoint holds.

    Raises:
        InputError: the config's model is not built.
    """
    own = architecture_of(config).class_name
    stem = next(own.removesuffix(end) for end in _ENDINGS if own.endswith(end))
    for other in (stem + end for end in _ENDINGS if stem + end != own):
        try:
            architecture = architecture_of({**config, "architectures": [other]})
        except InputError:  # the family has no such class
            continue
        if fit(architecture, names_of(architecture), shapes).whole:
            return other
    return None


def is_bare(architecture: Architecture) -> bool:
    """Say whether a model is a body without a head, whose names lack the base prefix."""
    heads = (
        architecture.lm_head,
        architecture.predictions,
        architecture.relationship,
        architecture.classifier,
    )
    return not architecture.tied and all(head is None for head in heads)


def listed(items: Iterable[str], total: int = 0, at_least: bool = False) -> str:
    """Return the first three of some texts and the number of the rest.

    Args:
        items: the texts.
        total: how many there are; as many as are given without.
        at_least: whether there may be more than that.

    >>> listed("abcde")
    'a, b, c and 2 more'
    >>> listed("abc", 10_000, at_least=True)
    'a, b, c and at least 9,997 more'
    """
    texts = list(items)
    rest = (total or len(texts)) - _SHOWN
    more = f" and {'at least ' if at_least else ''}{rest:,} more" if rest > 0 else ""
    return ", ".join(texts[:_SHOWN]) + more


def _shaped(item: tuple[str, Shape]) -> str:
    return f"{printable(item[0])} {list(item[1])}"


def _with_second_names(
    stored: dict[str, Stored], spare: dict[str, Stored], shapes: Mapping[str, Shape]
) -> dict[str, Stored]:
    """Return the tensors with each one that is only there by a second name under that."""
    second = {tensor.leaves: (name, tensor) for name, tensor in spare.items()}
    return dict(
        second[tensor.leaves]
        if name not in shapes and tensor.leaves in second
        else (name, tensor)
        for name, tensor in stored.items()
    )


def _seconds(stored: dict[str, Stored], spare: dict[str, Stored]) -> dict[str, str]:
    """Return the second names that are not read, and what is read in their place."""
    first = {tensor.leaves: name for name, tensor in stored.items()} if spare else {}
    return {
        name: first[tensor.leaves] for name, tensor in spare.items() if name not in stored
    }


def _unexpected(beyond: dict[str, Shape]) -> dict[str, Shape]:
    """Return which of the tensors that no row names a loader would miss something in."""
    extra = {name: shape for name, shape in beyond.items() if not _is_buffer(name, shape)}
    prediction = mark(list(extra), None) if extra else []
    return {
        name: shape
        for (name, shape), collection in zip(extra.items(), prediction, strict=True)
        if collection != COLLECTION
    }


def _is_buffer(name: str, shape: Shape) -> bool:
    # by name and shape: a format alone would let packed weights pass as integer buffers
    state = state_of(path_of(name), shape, "float32")
    is_router_bias = name.endswith(("e_score_correction_bias", "exp_probs_b.bias"))
    return state is not None and state[0] == "buffers" and not is_router_bias
