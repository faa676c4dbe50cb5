"""What the package offers, and that offering it costs nothing."""

import subprocess
import sys

import pytest

from explorer import training


def test_public_names_are_pinned():
    assert training.__all__ == [
        "Arrays", "Batches", "Bytes", "Characters", "Checkpoints", "Context", "DEFAULT_RULES",
        "EarlyStop", "Epoch", "EventWriter", "FitResult", "Freeze", "Freezing", "History",
        "JsonlWriter", "LineProgress", "PackedRows", "Progress", "Report", "Rule", "TimeSpent", "TrainState",
        "Trainer", "Watch", "Weighted", "Windows", "averaged", "batch_sharding", "create_state", "evaluate",
        "fit", "freeze", "keep_freed_memory", "library_text", "make_eval_step", "make_mesh", "make_train_step",
        "map_tokens", "names_of_bad", "next_tokens", "place_batch", "read_jsonl", "sharded_shapes", "shardings_of",
        "state_from", "with_average",
    ]  # fmt: skip
    for name in training.__all__:
        assert getattr(training, name).__doc__, name
    assert set(training.__all__) <= set(dir(training))
    with pytest.raises(AttributeError, match=r"No explorer\.training attribute nonsense"):
        training.nonsense  # noqa: B018


def test_importing_loads_no_jax():
    script = "import sys, explorer.training; assert not {'jax', 'numpy', 'flax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
