from .checkpoints.checkpoints import Checkpoints
from .data.batches import Arrays, Batches, Windows, map_tokens
from .data.packed import PackedRows, next_tokens
from .data.text import Bytes, Characters, library_text
from .freed_memory import keep_freed_memory
from .logging.events import EventWriter
from .logging.history import History, read_jsonl
from .logging.jsonl import JsonlWriter
from .loop.early_stop import EarlyStop
from .loop.evaluating import Epoch, evaluate
from .loop.fit import FitResult, fit
from .loop.progress import LineProgress, Progress, Report
from .loop.stopwatch import TimeSpent
from .sharding.batch_placement import batch_sharding, place_batch
from .sharding.mesh import (
    DEFAULT_RULES,
    Rule,
    make_mesh,
    sharded_shapes,
    shardings_of,
)
from .step.averaged import averaged, with_average
from .step.evaluation import make_eval_step
from .step.finite import names_of_bad
from .step.freezing import Freeze, Freezing, freeze
from .step.outcome import Context
from .step.state import TrainState, create_state, state_from
from .step.train_step import make_train_step
from .step.weighted import Weighted
from .trainer import Trainer
from .watch.watch import Watch

__all__ = [
    "DEFAULT_RULES",
    "Arrays",
    "Batches",
    "Bytes",
    "Characters",
    "Checkpoints",
    "Context",
    "EarlyStop",
    "Epoch",
    "EventWriter",
    "FitResult",
    "Freeze",
    "Freezing",
    "History",
    "JsonlWriter",
    "LineProgress",
    "PackedRows",
    "Progress",
    "Report",
    "Rule",
    "TimeSpent",
    "TrainState",
    "Trainer",
    "Watch",
    "Weighted",
    "Windows",
    "averaged",
    "batch_sharding",
    "create_state",
    "evaluate",
    "fit",
    "freeze",
    "keep_freed_memory",
    "library_text",
    "make_eval_step",
    "make_mesh",
    "make_train_step",
    "map_tokens",
    "names_of_bad",
    "next_tokens",
    "place_batch",
    "read_jsonl",
    "sharded_shapes",
    "shardings_of",
    "state_from",
    "with_average",
]
