"""What the backward pass computes again instead of keeping it from the forward pass."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from explorer.errors import InputError, printable

__all__ = ["REMAT", "policy_of", "rematerialised"]

_policies = jax.checkpoint_policies
# what the backward pass finds kept; what is not, it computes again
REMAT: dict[str, Callable[..., Any]] = {
    "full": _policies.nothing_saveable,
    "dots": _policies.dots_saveable,
    "dots_no_batch": _policies.dots_with_no_batch_dims_saveable,
}


def policy_of(name: str) -> Callable[..., Any]:
    """Return a policy of `jax.checkpoint` by its name here.

    Raises:
        InputError: there is none of that name.
    """
    if name not in REMAT:
        raise InputError(
            "remat",
            found=printable(repr(name), 60),
            expected=f"None or one of {', '.join(REMAT)}",
        )
    return REMAT[name]


def rematerialised(module: Any, name: str | None, *, scanned: bool) -> Any:
    """Return a module class whose calls keep their inputs and what a policy says.

    Args:
        module: a class of Linen modules.
        name: of the policy; None for the class as it is.
        scanned: whether it is the body of a scan, which keeps XLA from undoing it.

    Raises:
        InputError: as `policy_of`.
    """
    if name is None:
        return module
    return nn.remat(module, policy=policy_of(name), prevent_cse=not scanned)
