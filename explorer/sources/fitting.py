"""Which tensors an architecture has, and which a checkpoint holds: do they fit?

By names and shapes alone, so that a header is enough.
"""

from collections.abc import Iterable, Mapping

import msgspec

from explorer.errors import InputError, printable
from explorer.models.architecture import Architecture
from explorer.models.names import Names, Stored, spare_tensors, spelled_bare, stored_tensors
from explorer.paths import path_of
from explorer.roles.state import state_of
from explorer.sources.extra_layers import COLLECTION, mark

__all__ = ["Fit", "fit", "is_bare", "listed"]

Shape = tuple[int, ...]
_SHOWN = 3


class Fit(msgspec.Struct, frozen=True):
    """How a checkpoint's tensors fit an architecture.

    `stored` are the tensors to read, by name. What does not fit: names that are `missing`
    or `unexpected` with their shapes, and `misshapen` ones with the shape found and the
    shape expected.
    """

    class_name: str
    stored: dict[str, Stored]
    missing: dict[str, Shape]
    unexpected: dict[str, Shape]
    misshapen: dict[str, tuple[Shape, Shape]]

    @property
    def whole(self) -> bool:
        """Whether every tensor is there, in its shape, and no other."""
        return not (self.missing or self.unexpected or self.misshapen)

    def require(self, place: str) -> None:
        """Raise the one-line error of a checkpoint that does not fit.

        Raises:
            InputError: it names what is missing, left over or of another shape.
        """
        if self.whole:
            return
        faults = []
        if self.missing:
            faults.append("lacks " + listed(map(_shaped, self.missing.items())))
        if self.unexpected:
            faults.append(
                "holds unexpected " + listed(map(_shaped, self.unexpected.items()))
            )
        if self.misshapen and not faults:
            faults.append(
                "holds "
                + listed(
                    f"{printable(name)} {list(found)} where {list(wanted)} is expected"
                    for name, (found, wanted) in self.misshapen.items()
                )
            )
        raise InputError(
            place,
            found=" and ".join(faults),
            expected=f"the {len(self.stored):,} tensors of this config's {self.class_name}",
            cure="give the config that was saved with these weights",
        )


def fit(architecture: Architecture, names: Names, shapes: Mapping[str, Shape]) -> Fit:
    """Return how the tensors of a checkpoint fit an architecture.

    Names are read with or without the family's base prefix, whichever more of them have.
    Second names of tied tensors, buffers that a forward pass makes for itself and
    multi-token-prediction layers may be there and are left out.

    Args:
        architecture: the model.
        names: how its checkpoints name its tensors.
        shapes: what the checkpoint holds.
    """
    bare, stored = _best_spelling(architecture, names, shapes)
    spare = spare_tensors(architecture, names, bare)
    stored = _with_second_names(stored, spare, shapes)
    known = stored | {name: tensor for name, tensor in spare.items() if name in shapes}
    beyond = [name for name in shapes if name not in known]
    extra = {name: shapes[name] for name in beyond if not _is_buffer(name, shapes[name])}
    prediction = mark(list(extra), None) if extra else []
    return Fit(
        architecture.class_name,
        stored,
        missing={n: tensor.shape for n, tensor in stored.items() if n not in shapes},
        unexpected={
            name: shape
            for (name, shape), collection in zip(extra.items(), prediction, strict=True)
            if collection != COLLECTION
        },
        misshapen={
            name: (shapes[name], tensor.shape)
            for name, tensor in known.items()
            if name in shapes and shapes[name] != tensor.shape
        },
    )


def is_bare(architecture: Architecture) -> bool:
    """Say whether a model is a body without a head, whose names lack the base prefix."""
    heads = (
        architecture.lm_head,
        architecture.predictions,
        architecture.relationship,
        architecture.classifier,
    )
    return not architecture.tied and all(head is None for head in heads)


def listed(items: Iterable[str]) -> str:
    """Return the first three of some texts and the number of the rest.

    >>> listed("abcde")
    'a, b, c and 2 more'
    """
    texts = list(items)
    more = f" and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _shaped(item: tuple[str, Shape]) -> str:
    return f"{printable(item[0])} {list(item[1])}"


def _best_spelling(
    architecture: Architecture, names: Names, shapes: Mapping[str, Shape]
) -> tuple[bool, dict[str, Stored]]:
    """Return whether names are bare, and the tensors expected under such names."""
    bare = spelled_bare(architecture, names, shapes, is_bare(architecture))
    return bare, stored_tensors(architecture, names, bare, shapes)


def _with_second_names(
    stored: dict[str, Stored], spare: dict[str, Stored], shapes: Mapping[str, Shape]
) -> dict[str, Stored]:
    """Return the tensors with each one that is only there by a second name under that."""
    second = {
        tensor.leaves: (name, tensor) for name, tensor in spare.items() if name in shapes
    }
    return dict(
        second[tensor.leaves]
        if name not in shapes and tensor.leaves in second
        else (name, tensor)
        for name, tensor in stored.items()
    )


def _is_buffer(name: str, shape: Shape) -> bool:
    # by name and shape: a format alone would let packed weights pass as integer buffers
    state = state_of(path_of(name), shape, "float32")
    is_router_bias = name.endswith(("e_score_correction_bias", "exp_probs_b.bias"))
    return state is not None and state[0] == "buffers" and not is_router_bias
