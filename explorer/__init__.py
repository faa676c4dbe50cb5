"""What is in this model? Tensors, parameters, weights and biases, counted right.

    >>> import explorer as ex, numpy as np
    >>> inventory = ex.explore({"kernel": np.ones((2, 3), "float32"), "bias": np.zeros(3, "float32")})
    >>> inventory.num_parameters, inventory.num_weights, inventory.num_biases
    (9, 6, 3)

Importing the package loads neither JAX nor NumPy: names are found when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from explorer.analyses.comparison import Comparison as Comparison
    from explorer.analyses.ledger import Ledger as Ledger
    from explorer.analyses.summary import Summary as Summary
    from explorer.analyses.summary import summarize as summarize
    from explorer.api import compare as compare
    from explorer.api import count_bytes as count_bytes
    from explorer.api import count_parameters as count_parameters
    from explorer.api import count_tensors as count_tensors
    from explorer.api import explore as explore
    from explorer.api import ledger as ledger
    from explorer.api import load as load
    from explorer.errors import ExplorerError as ExplorerError
    from explorer.errors import FormatError as FormatError
    from explorer.errors import InputError as InputError
    from explorer.errors import MismatchError as MismatchError
    from explorer.errors import MissingPackageError as MissingPackageError
    from explorer.errors import TargetError as TargetError
    from explorer.errors import TreeError as TreeError
    from explorer.errors import UnsafePickleError as UnsafePickleError
    from explorer.inventory.inventory import Inventory as Inventory
    from explorer.inventory.tensor import Kind as Kind
    from explorer.inventory.tensor import TensorSpec as TensorSpec
    from explorer.inventory.tensor import Tie as Tie
    from explorer.models.build import build_model as build_model
    from explorer.objects.splitting import decay_mask as decay_mask
    from explorer.objects.splitting import split_weights_biases as split_weights_biases
    from explorer.pretrained.loading import load_pretrained as load_pretrained
    from explorer.pretrained.saving import to_checkpoint as to_checkpoint
    from explorer.role_reports import report_roles as report_roles
    from explorer.roles.dataflow.audit import audit_roles as audit_roles
    from explorer.roles.dataflow.records import ParameterRole as ParameterRole
    from explorer.roles.dataflow.tracing import trace_roles as trace_roles
    from explorer.tree.partition import combine as combine
    from explorer.tree.partition import partition as partition

__version__ = "0.1.0"

_HOMES = {
    "analyses.comparison": ("Comparison",),
    "analyses.ledger": ("Ledger",),
    "analyses.summary": ("Summary", "summarize"),
    "api": (
        "compare",
        "count_bytes",
        "count_parameters",
        "count_tensors",
        "explore",
        "ledger",
        "load",
    ),
    "errors": (
        "ExplorerError",
        "FormatError",
        "InputError",
        "MismatchError",
        "MissingPackageError",
        "TargetError",
        "TreeError",
        "UnsafePickleError",
    ),
    "inventory.inventory": ("Inventory",),
    "inventory.tensor": ("Kind", "TensorSpec", "Tie"),
    "models.build": ("build_model",),
    "pretrained.loading": ("load_pretrained",),
    "pretrained.saving": ("to_checkpoint",),
    "role_reports": ("report_roles",),
    "roles.dataflow.audit": ("audit_roles",),
    "roles.dataflow.records": ("ParameterRole",),
    "roles.dataflow.tracing": ("trace_roles",),
    "objects.splitting": ("decay_mask", "split_weights_biases"),
    "tree.partition": ("combine", "partition"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'explorer' has no attribute {name!r}")
    value = getattr(import_module(f"explorer.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
