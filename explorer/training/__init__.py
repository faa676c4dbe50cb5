"""Training: pure jitted steps, parameters watched as they learn, runs that resume.

    >>> from explorer.training import create_state, fit, make_train_step

Importing the package loads no JAX: names are found when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from explorer.training.checkpoints import Checkpoints as Checkpoints
    from explorer.training.data import Arrays as Arrays
    from explorer.training.data import Batches as Batches
    from explorer.training.data import Windows as Windows
    from explorer.training.data import map_tokens as map_tokens
    from explorer.training.evaluation import Context as Context
    from explorer.training.evaluation import make_eval_step as make_eval_step
    from explorer.training.events import EventWriter as EventWriter
    from explorer.training.finite import names_of_bad as names_of_bad
    from explorer.training.freezing import Freeze as Freeze
    from explorer.training.freezing import freeze as freeze
    from explorer.training.history import History as History
    from explorer.training.history import read_jsonl as read_jsonl
    from explorer.training.loop import FitResult as FitResult
    from explorer.training.loop import fit as fit
    from explorer.training.progress import LineProgress as LineProgress
    from explorer.training.progress import Progress as Progress
    from explorer.training.progress import Report as Report
    from explorer.training.sharding import DEFAULT_RULES as DEFAULT_RULES
    from explorer.training.sharding import Rule as Rule
    from explorer.training.sharding import batch_sharding as batch_sharding
    from explorer.training.sharding import make_mesh as make_mesh
    from explorer.training.sharding import place_batch as place_batch
    from explorer.training.sharding import sharded_shapes as sharded_shapes
    from explorer.training.sharding import shardings_of as shardings_of
    from explorer.training.state import State as State
    from explorer.training.state import create_state as create_state
    from explorer.training.step import make_train_step as make_train_step
    from explorer.training.text import Bytes as Bytes
    from explorer.training.text import Characters as Characters
    from explorer.training.text import library_text as library_text
    from explorer.training.watch import Watch as Watch
    from explorer.training.writers import JsonlWriter as JsonlWriter

_HOMES = {
    "checkpoints": ("Checkpoints",),
    "data": ("Arrays", "Batches", "Windows", "map_tokens"),
    "evaluation": ("Context", "make_eval_step"),
    "events": ("EventWriter",),
    "finite": ("names_of_bad",),
    "freezing": ("Freeze", "freeze"),
    "history": ("History", "read_jsonl"),
    "loop": ("FitResult", "fit"),
    "progress": ("LineProgress", "Progress", "Report"),
    "sharding": (
        "DEFAULT_RULES",
        "Rule",
        "batch_sharding",
        "make_mesh",
        "place_batch",
        "sharded_shapes",
        "shardings_of",
    ),
    "state": ("State", "create_state"),
    "step": ("make_train_step",),
    "text": ("Bytes", "Characters", "library_text"),
    "watch": ("Watch",),
    "writers": ("JsonlWriter",),
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
