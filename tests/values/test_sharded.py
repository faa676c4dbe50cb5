"""Arrays on eight devices are described shard by shard, as those on one."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from explorer.errors import TreeError
from explorer.values.describe import NamedValues, describe_arrays

SHARDED = """
import jax
jax.config.update("jax_num_cpu_devices", 8)
import jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import explorer as ex

mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
numbers = np.random.default_rng(0).standard_normal((64, 96)).astype(np.float32)
numbers[5, 90] = numbers[40, 3] = np.nan  # the second is in a shard that comes later
numbers[60, 1] = numbers[2, 95] = -np.inf
specs = [P("data", "model"), P(None, "model"), P("model"), P(), P(("model", "data"))]
whole, sharded = {}, {}
for i, spec in enumerate(specs):
    for dtype in (jnp.float32, jnp.bfloat16):
        name = f"{dtype.__name__} {'abcde'[i]}"
        whole[name] = jnp.asarray(numbers, dtype)
        sharded[name] = jax.device_put(whole[name], NamedSharding(mesh, spec))
gathered = []
before = np.asarray
def watched(value, *rest, **named):
    if isinstance(value, jax.Array):
        gathered.append(len(value.sharding.device_set))
    return before(value, *rest, **named)
np.asarray = watched
one, eight = ex.describe(whole), ex.describe(sharded)
assert set(gathered) == {1}, gathered
for a, b in zip(one.tensors, eight.tensors, strict=True):
    assert a.name == b.name
    a, b = a.statistics, b.statistics
    assert b.first_nan == 5 * 96 + 90 and b.first_inf == 2 * 96 + 95
    for field in ("count", "finite", "min", "max", "nan", "inf", "first_nan", "first_inf", "zeros", "histogram"):
        assert getattr(a, field) == getattr(b, field), field
    for field in ("mean", "std", "rms", "l1", "l2"):
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=1e-6, atol=1e-7 * a.std)
    for share, value in b.quantiles.items():
        np.testing.assert_allclose(value, a.quantiles[share], rtol=2**-7)
sparse = numbers[4:36, :48].copy()
sparse[:, 0::4] = sparse[:, 3::4] = 0
for axes in (("data", "model"), ("model", None), (None, "data"), (None, None)):
    array = jax.device_put(sparse, NamedSharding(mesh, P(*axes)))
    assert ex.describe({"w": array}).tensors[0].pattern == "2:4 along axis 1", axes
cut = jax.device_put(sparse[:, :12], NamedSharding(mesh, P(None, "model")))  # 6 columns each
assert ex.describe({"w": cut}).tensors[0].pattern == ""
np.asarray = before
sparse[3] = sparse[8] = 0
sparse[5] = sparse[6]
sparse[:, 9] *= 1000
for axes in (("data", "model"), ("model", None), (None, "data")):
    array = jax.device_put(sparse, NamedSharding(mesh, P(*axes)))
    lines = [ex.describe({"w": w}, statistics="lines").tensors[0].lines for w in (sparse, array)]
    assert lines[0] == lines[1] and lines[0].equal_rows == 2 and lines[0].zero_columns == 24, lines
    assert lines[0].zero_rows == 2 and 9 in lines[0].outlier_columns, lines
print("equal", len(eight.tensors))
"""


def test_shards_are_merged_without_gathering_them():
    words = [sys.executable, "-c", SHARDED]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == "equal 10\n", done.stderr


def test_a_part_of_an_array_is_not_presented_as_the_whole():
    elsewhere = SimpleNamespace(
        shape=(8,),
        dtype=np.dtype("float32"),
        is_fully_addressable=False,
        is_fully_replicated=False,
    )
    named = NamedValues(("layer", "kernel"), elsewhere, "float32")
    with pytest.raises(TreeError, match="layer/kernel: is sharded over devices of several"):
        describe_arrays("model", [named])
