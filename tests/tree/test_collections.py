"""Which collection a path names."""

import pytest

from explorer.tree.collections import collection_of


@pytest.mark.parametrize(
    ("path", "collection"),
    [
        ("params/Dense_0/kernel", "params"),
        ("params/params/Dense_0/kernel", "params"),
        ("params/batch_stats/BatchNorm_0/mean", "batch_stats"),
        ("params/cache/kernel", "params"),  # a module may be called cache
        ("batch_stats/BatchNorm_0/mean", "batch_stats"),
        ("cache/attention/cached_key", "cache"),
        ("opt_state/0/mu/params/Dense_0/kernel", "opt_state"),
        ("opt_state/0/count", "opt_state"),
        ("step", "state"),
        ("step/kernel", ""),
        ("halted", "state"),
        ("halted/kernel", ""),
        ("watch/Dense_0/kernel", "watch"),
        ("rngs/dropout", "rng_state"),
        ("ema_params/Dense_0/kernel", "ema"),
        ("target/encoder/kernel", "params"),
        ("state/param_states/encoder/kernel/m", "opt_state"),
        ("state/step", "state"),
        ("model/params/Dense_0/kernel", "params"),
        ("model/opt_state/0/mu/kernel", "opt_state"),
        ("model/decoder/kernel", ""),
        ("Dense_0/kernel", ""),
        ("encoder/params/kernel", ""),
        ("state", ""),
    ],
)
def test_collection_of(path, collection):
    assert collection_of(tuple(path.split("/"))) == collection


def test_no_path():
    assert collection_of(()) == ""
