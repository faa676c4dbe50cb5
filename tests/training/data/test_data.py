"""Order, batches and tokenisers: what is computed must be what a table would hold."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.errors import InputError, TargetError
from explorer.training.data.batches import Arrays, Batches, Windows, map_tokens
from explorer.training.data.order import permute
from explorer.training.data.text import Bytes, Characters, library_text

quick = settings(max_examples=60, deadline=None)
SIZES, SEEDS = st.integers(1, 400), st.integers(0, 2**64)


@quick
@given(size=SIZES, seed=SEEDS, epoch=st.integers(0, 10**6))
def test_order_is_a_permutation(size: int, seed: int, epoch: int):
    order = permute(np.arange(size), size, seed, epoch)
    assert sorted(order.tolist()) == list(range(size))


@quick
@given(size=SIZES, seed=SEEDS, data=st.data())
def test_order_at_some_positions_is_that_of_all(size: int, seed: int, data: st.DataObject):
    some = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20))
    whole = permute(np.arange(size), size, seed, 0)
    assert permute(np.array(some), size, seed, 0).tolist() == whole[some].tolist()


def test_orders_of_seeds_and_epochs_differ():
    orders = {
        tuple(permute(np.arange(50), 50, seed, epoch).tolist())
        for seed in range(20)
        for epoch in range(20)
    }
    assert len(orders) == 400


def test_every_example_comes_to_every_place_about_as_often():
    # 2,000 orders of 8: each of 64 cells expects 250, with a deviation below 15
    counts = np.zeros((8, 8), int)
    for epoch in range(2000):
        counts[np.arange(8), permute(np.arange(8), 8, 3, epoch)] += 1
    assert np.abs(counts - 250).max() < 5 * 15


@quick
@given(examples=st.integers(1, 60), size=st.integers(1, 25), seed=st.integers(0, 99))
def test_every_epoch_has_every_example_once(examples: int, size: int, seed: int):
    batches = Batches(Arrays(np.arange(examples)), size, seed=seed)
    drawn = np.concatenate([next(batches) for _ in range(3 * examples // size + 1)])
    for epoch in range(len(drawn) // examples):
        assert Counter(
            drawn[epoch * examples : (epoch + 1) * examples].tolist()
        ) == Counter(range(examples))


@quick
@given(
    examples=st.integers(1, 60),
    size=st.integers(1, 25),
    calls=st.integers(1, 3),
    stop=st.integers(0, 12),
)
def test_resumed_anywhere_the_rest_is_the_same(
    examples: int, size: int, calls: int, stop: int
):
    source = Arrays({"x": np.arange(examples), "y": np.arange(examples) * 2.0})
    whole = Batches(source, size, seed=7, steps_per_call=calls)
    for _ in range(stop):
        next(whole)
    resumed = Batches(source, size, seed=7, steps_per_call=calls)
    resumed.restore(json.loads(json.dumps(whole.state())))
    for _ in range(4):
        one, other = next(whole), next(resumed)
        assert all(np.array_equal(one[name], other[name]) for name in "xy")
    assert whole.state() == resumed.state()


def test_processes_share_the_rows_of_the_same_batch():
    whole = Batches(Arrays(np.arange(30)), 6, seed=1)
    parts = [Batches(Arrays(np.arange(30)), 6, seed=1, part=(i, 3)) for i in range(3)]
    for _ in range(8):
        together = np.concatenate([next(part) for part in parts])
        assert np.array_equal(together, next(whole))


def test_calls_of_several_steps_have_the_batches_of_single_ones():
    single = Batches(Arrays(np.arange(30)), 4, seed=1)
    several = Batches(Arrays(np.arange(30)), 4, seed=1, steps_per_call=3)
    for _ in range(4):
        assert np.array_equal(next(several), np.stack([next(single) for _ in range(3)]))


def test_batches_are_placed():
    batches = Batches(Arrays(np.arange(3)), 3, shuffle=False, place=lambda b: b + 100)
    assert next(batches).tolist() == [100, 101, 102]


@quick
@given(tokens=st.integers(2, 200), length=st.integers(1, 20))
def test_windows_have_every_token_as_a_target_once(tokens: int, length: int):
    if tokens < length + 1:
        return
    windows = Windows(np.arange(tokens, dtype=np.uint16), length)
    rows = windows[np.arange(len(windows))]
    assert rows.shape == (len(windows), length + 1)
    assert rows[:, 1:].reshape(-1).tolist() == list(range(1, 1 + len(windows) * length))
    assert (rows[:, 1:] == rows[:, :-1] + 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_mapped_tokens_are_those_that_were_written(tmp_path: Path, dtype: str):
    tokens = np.random.default_rng(0).integers(0, 250, 999).astype(dtype)
    tokens.tofile(tmp_path / "tokens.bin")
    mapped = map_tokens(tmp_path / "tokens.bin", dtype)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, tokens)
    in_memory, on_disk = (Batches(Windows(row, 10), 4, seed=2) for row in (tokens, mapped))
    assert all(np.array_equal(next(in_memory), next(on_disk)) for _ in range(30))


@quick
@given(text=st.text(min_size=1))
def test_characters_decode_what_they_encode(text: str):
    tokeniser = Characters(text)
    assert tokeniser.size == len(set(text))
    assert tokeniser.decode(tokeniser.encode(text)) == text


@quick
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_decode_what_they_encode(text: str):
    assert Bytes().decode(Bytes().encode(text)) == text
    assert Bytes().encode(text).tolist() == list(text.encode())


def test_the_library_reads_as_python_and_stays_within_its_limit():
    text = library_text(50_000)
    assert len(text) == 50_000
    assert text.isascii()
    assert text.count("\ndef ") + text.count("\n    def ") > 50
    assert library_text(60_000)[:50_000] == text


def test_tokens_may_be_a_list():
    windows = Windows([1, 2, 3, 4, 5], 2)
    assert windows[np.arange(2)].tolist() == [[1, 2, 3], [3, 4, 5]]


class Empty:
    """A source of anybody's, with no example in it."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return indices


BAD = {
    "an empty list": (
        lambda _: Batches([], 4),  # pyright: ignore[reportArgumentType]
        "data: list; expected a source of examples; pass Arrays(...) or Windows(...)",
    ),
    "no length": (
        lambda _: Batches(4, 4),  # pyright: ignore[reportArgumentType]
        "data: int; expected a source of examples; pass Arrays(...) or Windows(...)",
    ),
    "an empty source": (
        lambda _: Batches(Empty(), 4),
        "data: holds no example; expected at least one example",
    ),
    "no order": (
        lambda _: permute(np.arange(1), 0, seed=0, epoch=0),
        "order: of 0 examples; expected at least one example",
    ),
    "uneven rows": (
        lambda _: Windows([[1, 2], [3]], 1),  # pyright: ignore[reportArgumentType]
        "tokens: rows of different lengths; expected integers in one row",
    ),
    "text": (
        lambda _: Windows("abc", 1),
        "tokens: <U3 of shape (); expected integers in one row",
    ),
    "no array": (lambda _: Arrays({}), "data: holds no example; expected arrays with at least one row"),
    "no row": (lambda _: Arrays(np.zeros((0, 3))), "data: holds no example; expected arrays with at least one row"),
    "uneven": (
        lambda _: Arrays({"x": np.zeros(3), "y": np.zeros(2)}),
        "data: 3 rows in x, 2 in y; expected the same number, one row an example",
    ),
    "no batch": (
        lambda _: Batches(Arrays(np.zeros(3)), 0),
        "batch: 0 examples, 1 steps a call, seed 0, for 1 processes; expected positive sizes, and a batch that the processes divide",
    ),
    "shared": (
        lambda _: Batches(Arrays(np.zeros(3)), 3, part=(0, 2)),
        "batch: 3 examples, 1 steps a call, seed 0, for 2 processes; expected positive sizes, and a batch that the processes divide",
    ),
    "short text": (
        lambda _: Windows(np.zeros(8, "uint8"), 8),
        "tokens: 8 tokens for windows of 8 + 1; expected at least one window; give more text, or a shorter length",
    ),
    "no tokens": (
        lambda _: Windows(np.zeros((2, 8)), 8),
        "tokens: float64 of shape (2, 8); expected integers in one row",
    ),
    "empty file": (
        lambda folder: map_tokens(folder / "empty"),
        "{folder}/empty: has 0 bytes; expected tokens of 2 bytes each",
    ),
    "odd file": (
        lambda folder: map_tokens(folder / "odd"),
        "{folder}/odd: has 3 bytes; expected tokens of 2 bytes each",
    ),
    "no file": (
        lambda folder: map_tokens(folder / "none"),
        "{folder}/none: cannot be read: No such file or directory",
    ),
    "a folder": (lambda folder: map_tokens(folder), "{folder}: is not a regular file"),
    "format": (
        lambda folder: map_tokens(folder / "odd", "float32"),
        "{folder}/odd: tokens of 'float32'; expected uint8, uint16, uint32",
    ),
    "other data": (
        lambda _: Batches(Arrays(np.zeros(3)), 1).restore({"seed": 0, "examples": 4, "epoch": 0, "position": 1}),
        "data position: seed 0, 4 examples; expected seed 0, 3 examples, as in this run; resume with the data that the run began with",
    ),
    "unknown character": (
        lambda _: Characters("abc").encode("abxc"),
        "text[2]: 'x' is not in the alphabet; expected one of 3 characters",
    ),
    "unknown token": (
        lambda _: Characters("abc").decode([0, 3]),
        "tokens: numbers from 0 to 3; expected 0 to 2",
    ),
    "half a character": (
        lambda _: Bytes().encode("a\ud800"),
        "text[1]: '\\ud800' is an unpaired surrogate; expected text that UTF-8 can hold",
    ),
    "no byte": (
        lambda _: Bytes().decode([256]),
        "tokens: a number that is not a byte; expected 0 to 255",
    ),
    "no library": (
        lambda folder: library_text(folder=folder),
        "{folder}: holds no source of Python's library; expected argparse.py and others; use a Python that was installed with its sources",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_reported_in_one_line(tmp_path: Path, case: str):
    (tmp_path / "empty").touch()
    (tmp_path / "odd").write_bytes(b"abc")
    act, message = BAD[case]
    with pytest.raises((InputError, TargetError)) as caught:
        act(tmp_path)
    assert str(caught.value) == message.replace("{folder}", str(tmp_path))
