"""Terms of a plan -> the same terms with what the fullest device of a mesh holds of each."""

from fractions import Fraction
from math import ceil

from msgspec.structs import replace

from explorer.sizing.meshes.placed import placed_parameters, share_of_fullest
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, TermName
from explorer.sizing.subject import Subject

__all__ = ["placed_terms"]

# what is placed as the parameters are, in proportion to them, and the stage of ZeRO from which
# it is divided over the copies of a model too
_STAGES: dict[TermName, int] = {
    "optimizer": 1,
    "master_parameters": 1,
    "gradients": 2,
    "parameters": 3,
    "quantization": 3,
}


def placed_terms(
    terms: list[Term], subject: Subject, placement: Placement, zero: int = 0
) -> list[Term]:
    """Return terms with the bytes of the fullest device, where they lack them.

    What has as many values a parameter everywhere is divided exactly as the parameters are.

    Args:
        terms: of a plan.
        subject: whose parameters decide.
        placement: the mesh.
        zero: the stage of ZeRO: from 1 the optimizer's state, from 2 gradients and from 3
            parameters are divided evenly over "data".

    References:
        Rajbhandari et al. 2020, ZeRO: Memory Optimizations Toward Training Trillion
        Parameter Models, section 5.

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

    def placed(term: Term) -> Term:
        stage = _STAGES.get(term.name)
        if stage is None:
            return term
        copies = placement.size("data") if zero >= stage else 1
        held = term.bytes * share if term.per_device is None else term.per_device
        return replace(term, per_device=ceil(Fraction(held) / copies))

    return [placed(term) for term in terms]
