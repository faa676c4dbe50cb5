"""Rematerialisation: what the backward pass recomputes instead of storing."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from explorer.errors import InputError, shown

__all__ = ["REMAT", "policy_of", "rematerialised"]

_policies = jax.checkpoint_policies
# what the forward pass stores; the backward pass recomputes the rest
REMAT: dict[str, Callable[..., Any]] = {
    "full": _policies.nothing_saveable,
    "dots": _policies.dots_saveable,
    "dots_no_batch": _policies.dots_with_no_batch_dims_saveable,
}


def policy_of(name: str) -> Callable[..., Any]:
    """Return the `jax.checkpoint` policy of a name in `REMAT`.

    Raises:
        InputError: an unknown name.
    """
    if not isinstance(name, str) or name not in REMAT:
        raise InputError(
            "remat",
            found=shown(name, 60),
            expected=f"None or one of {', '.join(REMAT)}",
        )
    return REMAT[name]


def rematerialised(module: Any, name: str | None, *, scanned: bool) -> Any:
    """Return a module class whose calls store only their inputs and what a policy allows.

    Args:
        module: a class of Linen modules.
        name: of the policy; None returns the class unchanged.
        scanned: whether it is the body of a scan, in which XLA cannot undo it.

    Raises:
        InputError: an unknown policy.
    """
    if name is None:
        return module
    return nn.remat(module, policy=policy_of(name), prevent_cse=not scanned)
