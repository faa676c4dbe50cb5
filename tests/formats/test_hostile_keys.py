"""Keys and names that make a dict or a tree cost more than the bytes that spell them."""

import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.errors import FormatError
from explorer.formats import files
from tests.formats.torch_bytes import spell


def pickled_keys(keys: Iterable[bytes], path: Path) -> str:
    """A pickle of a dict whose values are None."""
    path.write_bytes(b"\x80\x02}(" + b"".join(key + b"N" for key in keys) + b"u.")
    return str(path)


HASHED_AS_ONE = (1 << 61) - 1


@pytest.mark.parametrize(
    "key",
    [
        lambda n: spell(n * HASHED_AS_ONE),
        lambda n: spell(float(n) * 2.0**900),
        lambda n: spell(("", n)),  # hash("") is 0 in every process
        lambda n: spell(("a", n * HASHED_AS_ONE)),
    ],
)
def test_keys_that_may_share_one_hash_are_few(tmp_path: Path, key):
    few, many = ([key(n) for n in range(1, count)] for count in (4_001, 4_010))
    with pytest.raises(FormatError, match="more than 4,000 keys that are large integers"):
        ex.explore(pickled_keys(many, tmp_path / "a.pkl"))
    assert len(files.load_path(pickled_keys(few, tmp_path / "b.pkl"), bool)) == 0


def test_keys_of_pairs_are_counted(tmp_path: Path):
    pairs = b"".join(spell(n * HASHED_AS_ONE) + b"N\x86" for n in range(1, 5_000))
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02ccollections\nOrderedDict\n(](" + pairs + b"etR.")
    with pytest.raises(FormatError, match="more than 4,000 keys that are large integers"):
        ex.explore(str(path))


def test_integers_in_counting_order_are_not_limited_and_others_are(tmp_path: Path):
    counted = {"words": dict(enumerate([None] * 50_000, start=1)), "w": np.ones(3)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(counted, protocol=4))
    assert ex.explore(str(tmp_path / "a.pkl")).num_parameters == 3
    keys = [spell(n) for n in range(2, 50_000, 2)]
    with pytest.raises(
        FormatError, match="more than 20,000 keys that are neither text nor in"
    ):
        ex.explore(pickled_keys(keys, tmp_path / "b.pkl"))


def test_a_name_may_have_256_parts(tmp_path: Path):
    for parts in (256, 257):
        name = ".".join(["a"] * parts)
        np.savez(tmp_path / f"{parts}.npz", **{name: np.ones(3)})
    assert ex.explore(str(tmp_path / "256.npz")).num_parameters == 3
    with pytest.raises(FormatError, match="has a name of 257 parts; expected at most 256"):
        ex.explore(str(tmp_path / "257.npz"))
