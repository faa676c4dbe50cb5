"""Terms of a plan -> the same terms with what the fullest device of a mesh holds of each."""

from math import ceil

from msgspec.structs import replace

from explorer.sizing.meshes.placed import placed_parameters, share_of_fullest
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, TermName
from explorer.sizing.subject import Subject

__all__ = ["placed_terms"]

# what is placed as the parameters are, in proportion to them
_AS_PARAMETERS: tuple[TermName, ...] = (
    "parameters",
    "quantization",
    "gradients",
    "optimizer",
    "master_parameters",
)


def placed_terms(terms: list[Term], subject: Subject, placement: Placement) -> list[Term]:
    """Return terms with the bytes of the fullest device, where they lack them.

    What has as many values a parameter everywhere is divided exactly as the parameters are.

    >>> from explorer.architectures.resolve import resolve, inventory_of
    >>> gpt2 = resolve("gpt2")
    >>> subject = Subject("gpt2", inventory_of(gpt2), gpt2.architecture)
    >>> term = Term.exact("parameters", 4 * 124_439_808)
    >>> placed_terms([term], subject, Placement(mesh={"fsdp": 8}))[0].on_device
    62644608
    """
    if placement.devices == 1:
        return terms
    share = share_of_fullest(placed_parameters(subject, placement))
    return [
        replace(term, per_device=ceil(term.bytes * share))
        if term.per_device is None and term.name in _AS_PARAMETERS
        else term
        for term in terms
    ]
