"""Training: pure jitted steps, parameters watched as they learn, runs that resume.

    >>> from explorer.training import create_state, fit, make_train_step

Importing the package loads no JAX: names are found when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from explorer.training.checkpoints.checkpoints import Checkpoints as Checkpoints
    from explorer.training.data.batches import Arrays as Arrays
    from explorer.training.data.batches import Batches as Batches
    from explorer.training.data.batches import Windows as Windows
    from explorer.training.data.batches import map_tokens as map_tokens
    from explorer.training.data.text import Bytes as Bytes
    from explorer.training.data.text import Characters as Characters
    from explorer.training.data.text import library_text as library_text
    from explorer.training.logging.events import EventWriter as EventWriter
    from explorer.training.logging.history import History as History
    from explorer.training.logging.history import read_jsonl as read_jsonl
    from explorer.training.logging.jsonl import JsonlWriter as JsonlWriter
    from explorer.training.loop.fit import FitResult as FitResult
    from explorer.training.loop.fit import fit as fit
    from explorer.training.loop.progress import LineProgress as LineProgress
    from explorer.training.loop.progress import Progress as Progress
    from explorer.training.loop.progress import Report as Report
    from explorer.training.sharding.mesh import DEFAULT_RULES as DEFAULT_RULES
    from explorer.training.sharding.mesh import Rule as Rule
    from explorer.training.sharding.mesh import batch_sharding as batch_sharding
    from explorer.training.sharding.mesh import make_mesh as make_mesh
    from explorer.training.sharding.mesh import place_batch as place_batch
    from explorer.training.sharding.mesh import sharded_shapes as sharded_shapes
    from explorer.training.sharding.mesh import shardings_of as shardings_of
    from explorer.training.step.evaluation import Context as Context
    from explorer.training.step.evaluation import make_eval_step as make_eval_step
    from explorer.training.step.finite import names_of_bad as names_of_bad
    from explorer.training.step.freezing import Freeze as Freeze
    from explorer.training.step.freezing import freeze as freeze
    from explorer.training.step.state import State as State
    from explorer.training.step.state import create_state as create_state
    from explorer.training.step.train_step import make_train_step as make_train_step
    from explorer.training.watch.watch import Watch as Watch

_HOMES = {
    "checkpoints.checkpoints": ("Checkpoints",),
    "data.batches": ("Arrays", "Batches", "Windows", "map_tokens"),
    "data.text": ("Bytes", "Characters", "library_text"),
    "logging.events": ("EventWriter",),
    "logging.history": ("History", "read_jsonl"),
    "logging.jsonl": ("JsonlWriter",),
    "loop.fit": ("FitResult", "fit"),
    "loop.progress": ("LineProgress", "Progress", "Report"),
    "sharding.mesh": (
        "DEFAULT_RULES",
        "Rule",
        "batch_sharding",
        "make_mesh",
        "place_batch",
        "sharded_shapes",
        "shardings_of",
    ),
    "step.evaluation": ("Context", "make_eval_step"),
    "step.finite": ("names_of_bad",),
    "step.freezing": ("Freeze", "freeze"),
    "step.state": ("State", "create_state"),
    "step.train_step": ("make_train_step",),
    "watch.watch": ("Watch",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'explorer.training' has no attribute {name!r}")
    value = getattr(import_module(f"explorer.training.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
