"""A name or a config -> the Flax module of its architecture."""

from typing import Any

from explorer.architectures.resolve import resolve
from explorer.models.transformer import Transformer

__all__ = ["build_model"]


def build_model(
    target: Any, *, scan: bool = False, dtype: Any = None, param_dtype: Any = None
) -> Transformer:
    """Return the Flax module of a named architecture or of a config; nothing is allocated.

    Other fields of the module are set by `clone`: `build_model("gpt2").clone(remat="full")`.

    Args:
        target: a catalogued name, a Hugging Face config, or a path of one.
        scan: whether alike layers are stacked and scanned: a trace then takes as long for
            one layer as for a hundred.
        dtype: what to compute in; None for the parameters' own format.
        param_dtype: what `init` makes; None for the format of the published weights.

    Raises:
        InputError: as `explore`.

    >>> model = build_model("gpt2")
    >>> model.architecture.num_layers
    12
    """
    architecture = resolve(target).architecture
    return Transformer(
        architecture, scan=scan, dtype=dtype, param_dtype=param_dtype or architecture.dtype
    )
