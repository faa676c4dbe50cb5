"""Whether a checkpoint's tensors are those of an architecture, by names and shapes alone."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec

from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_names import CheckpointNames
from explorer.architectures.families import architecture_of, checkpoint_names_of
from explorer.architectures.stored_tensors import (
    StoredTensor,
    alias_tensors,
    count_stored,
    iter_stored,
    names_are_bare,
    stored_tensors,
)
from explorer.errors import InputError, first_few, printable
from explorer.identify.extra_layers import COLLECTION, mark
from explorer.identify.state import state_of
from explorer.paths import path_of

__all__ = ["CheckpointFit", "class_that_fits", "fit_checkpoint", "is_bare"]

Shape = tuple[int, ...]
_SHOWN = 3
# A config that declares more than _TIMES the tensors present + _MORE is that of another
# model: its tensors are counted, not listed.
_TIMES, _MORE = 10, 10_000
# endings of class names within a family
_ENDINGS = (
    "LMHeadModel",
    "ForCausalLM",
    "ForPreTraining",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForNextSentencePrediction",
    "ForImageClassification",
    "TextModel",
    "Model",
)


class CheckpointFit(msgspec.Struct, frozen=True, kw_only=True):
    """How a checkpoint's tensors compare with those an architecture declares.

    `stored` are the tensors to read, by name; `num_declared` is how many the architecture
    stores. `aliases` maps second names of tied tensors to the names read instead: both must
    hold the same values. Differences: `missing` and `unexpected` names with their shapes,
    and `mismatched` names with the shape found and the shape expected. If far more tensors
    are declared than present, `missing` holds only the first few of at least `num_missing`,
    and no other difference is listed.
    """

    class_name: str
    num_declared: int
    num_missing: int
    missing: dict[str, Shape]
    stored: dict[str, StoredTensor] = {}
    aliases: dict[str, str] = {}
    unexpected: dict[str, Shape] = {}
    mismatched: dict[str, tuple[Shape, Shape]] = {}

    @property
    def is_exact(self) -> bool:
        """Whether every tensor is present in its shape, and no other."""
        return not (self.missing or self.unexpected or self.mismatched)

    def require(self, place: str, *, model: str = "", cure: str = "") -> None:
        """Raise a one-line error if the checkpoint does not fit.

        Args:
            place: the checkpoint.
            model: the model whose tensors are expected; by default the config's class.
            cure: what the reader can do; by default, give the right config.

        Raises:
            InputError: it names the tensors that are missing, unexpected or of another shape.
        """
        if self.is_exact:
            return
        of = model or f"this config's {self.class_name}"
        raise InputError(
            place,
            found=" and ".join(self._differences()),
            expected=f"the {self.num_declared:,} tensors of {of}",
            cure=cure or "give the config that was saved with these weights",
        )

    def _differences(self) -> list[str]:
        differences = []
        if self.missing:
            bounded = self.num_missing > len(self.missing)
            missing = first_few(
                map(_shaped, self.missing.items()), self.num_missing, bounded
            )
            differences.append(f"lacks {missing}")
        if self.unexpected:
            unexpected = first_few(map(_shaped, self.unexpected.items()))
            differences.append(f"holds unexpected {unexpected}")
        if self.mismatched and not differences:
            mismatched = first_few(
                f"{printable(name)} {list(found)} where {list(wanted)} is expected"
                for name, (found, wanted) in self.mismatched.items()
            )
            differences.append(f"holds {mismatched}")
        return differences


def fit_checkpoint(
    architecture: Architecture, names: CheckpointNames, shapes: Mapping[str, Shape]
) -> CheckpointFit:
    """Return how a checkpoint's tensors compare with those an architecture declares.

    Names are read with or without the family's base prefix, whichever matches more. Second
    names of tied tensors, buffers that the forward pass recomputes and multi-token-prediction
    layers may be present and are ignored. Time and memory are bounded by the tensors
    present, however many the architecture declares.

    Args:
        architecture: the model.
        names: the names of its family.
        shapes: the checkpoint's tensors.
    """
    bare = names_are_bare(architecture, names, shapes, is_bare(architecture))
    declared = count_stored(architecture, names, bare, shapes)
    if declared > _TIMES * len(shapes) + _MORE:
        every = iter_stored(architecture, names, bare, shapes)
        absent = ((name, tensor.shape) for name, tensor in every if name not in shapes)
        return CheckpointFit(
            class_name=architecture.class_name,
            num_declared=declared,
            num_missing=declared - len(shapes),
            missing=dict(islice(absent, _SHOWN)),
        )
    aliases = alias_tensors(architecture, names, bare)
    aliases = {name: tensor for name, tensor in aliases.items() if name in shapes}
    stored = stored_tensors(architecture, names, bare, shapes)
    stored = _read_by_alias(stored, aliases, shapes)
    known = stored | aliases
    missing = {n: tensor.shape for n, tensor in stored.items() if n not in shapes}
    return CheckpointFit(
        class_name=architecture.class_name,
        num_declared=declared,
        num_missing=len(missing),
        missing=missing,
        stored=stored,
        aliases=_unread_aliases(stored, aliases),
        unexpected=_unexpected({n: s for n, s in shapes.items() if n not in known}),
        mismatched={
            name: (shapes[name], tensor.shape)
            for name, tensor in known.items()
            if name in shapes and shapes[name] != tensor.shape
        },
    )


def class_that_fits(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> str | None:
    """Return another class of a config's family that the tensors fit exactly, or None.

    Args:
        config: the content of a config.json whose own class does not fit.
        shapes: the checkpoint's tensors.

    Raises:
        InputError: the config's model is not supported.
    """
    own = architecture_of(config).class_name
    stem = next(own.removesuffix(end) for end in _ENDINGS if own.endswith(end))
    for other in (stem + end for end in _ENDINGS if stem + end != own):
        try:
            architecture = architecture_of({**config, "architectures": [other]})
        except InputError:  # the family has no such class
            continue
        if architecture.class_name != other:  # nor this one
            continue
        if fit_checkpoint(architecture, checkpoint_names_of(architecture), shapes).is_exact:
            return other
    return None


def is_bare(architecture: Architecture) -> bool:
    """Return whether a model is a body without a head, whose names omit the base prefix."""
    heads = (
        architecture.lm_head,
        architecture.predictions,
        architecture.relationship,
        architecture.classifier,
    )
    return not architecture.tied and all(head is None for head in heads)


def _shaped(item: tuple[str, Shape]) -> str:
    return f"{printable(item[0])} {list(item[1])}"


def _read_by_alias(
    stored: dict[str, StoredTensor],
    aliases: dict[str, StoredTensor],
    shapes: Mapping[str, Shape],
) -> dict[str, StoredTensor]:
    """Return the tensors, each one that is present only under its second name by that name."""
    by_leaves = {tensor.leaves: (name, tensor) for name, tensor in aliases.items()}
    return dict(
        by_leaves[tensor.leaves]
        if name not in shapes and tensor.leaves in by_leaves
        else (name, tensor)
        for name, tensor in stored.items()
    )


def _unread_aliases(
    stored: dict[str, StoredTensor], aliases: dict[str, StoredTensor]
) -> dict[str, str]:
    """Return the second names that are not read, each with the name that is read instead."""
    first = {tensor.leaves: name for name, tensor in stored.items()} if aliases else {}
    return {
        name: first[tensor.leaves] for name, tensor in aliases.items() if name not in stored
    }


def _unexpected(unnamed: dict[str, Shape]) -> dict[str, Shape]:
    """Return the tensors without a row whose values would be lost by ignoring them."""
    extra = {name: shape for name, shape in unnamed.items() if not _is_buffer(name, shape)}
    collections = mark(list(extra), None, are_rest=True) if extra else []
    return {
        name: shape
        for (name, shape), collection in zip(extra.items(), collections, strict=True)
        if collection != COLLECTION
    }


def _is_buffer(name: str, shape: Shape) -> bool:
    # by name and shape: by dtype, packed weights would pass as integer buffers
    state = state_of(path_of(name), shape, "float32")
    is_router_bias = name.endswith(("e_score_correction_bias", "exp_probs_b.bias"))
    return state is not None and state[0] == "buffers" and not is_router_bias
