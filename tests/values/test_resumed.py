"""A pass that is killed goes on where it stopped, and finds what one pass finds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError, TargetError
from explorer.storage.journal import Journal

RNG = np.random.default_rng(0)


def write_sharded(folder: Path, shards: int = 3, rows: int = 300) -> Path:
    """Write a sharded checkpoint with a NaN, zeros in a pattern and state."""
    folder.mkdir()
    places: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        kernel = RNG.standard_normal((rows, 400)).astype(np.float32)
        half = kernel.astype(np.float16)
        half.reshape(-1, 4)[:, number % 2 :: 2] = 0  # 2:4
        kernel[number, 7] = np.nan
        tensors = {
            f"layers.{number}.mlp.weight": kernel,
            f"layers.{number}.out.weight": half,
            f"layers.{number}.bias": np.zeros(7, np.float32),
        }
        save_file(tensors, folder / name)
        places |= dict.fromkeys(tensors, name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def killed_after(tensors: int) -> Callable[[int, int], None]:
    """Return a progress that ends the pass after so many tensors."""
    calls = [0]

    def progress(done: int, total: int) -> None:
        calls[0] += 1
        if calls[0] > tensors:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("statistics", ["all", "moments"])
def test_what_was_found_is_not_read_again_and_the_answer_is_the_same(tmp_path, statistics):
    folder = write_sharded(tmp_path / "model")
    whole = ex.describe(folder, statistics=statistics)
    path = tmp_path / "pass"
    with Journal(path):  # of a pass that was killed before it found anything
        pass
    assert ex.describe(folder, statistics=statistics, resume=path) == whole
    size = path.stat().st_size
    assert ex.describe(folder, statistics=statistics, resume=path) == whole
    assert path.stat().st_size == size
    by_role = ex.describe(folder, statistics=statistics, by="role", resume=path)
    assert by_role == ex.describe(folder, statistics=statistics, by="role")


@pytest.mark.parametrize("cut", [1, 30, 2000])
def test_a_record_that_is_not_whole_is_not_there(tmp_path: Path, cut: int):
    folder = write_sharded(tmp_path / "model")
    whole, path = ex.describe(folder), tmp_path / "pass"
    ex.describe(folder, resume=path)
    size = path.stat().st_size
    os.truncate(path, size - cut)
    assert ex.describe(folder, resume=path) == whole
    assert path.stat().st_size == size
    raw = bytearray(path.read_bytes())
    raw[size // 2] ^= 1  # a record of other bytes than were written, and all after it
    path.write_bytes(raw)
    assert ex.describe(folder, resume=path) == whole


def test_a_process_that_is_killed(tmp_path: Path):
    folder = write_sharded(tmp_path / "model", shards=8, rows=20_000)
    path = tmp_path / "pass"
    words = [sys.executable, "-m", "explorer", "stats", str(folder), "--format", "json"]
    first = subprocess.Popen([*words, "--resume", str(path)], stdout=subprocess.PIPE)
    while first.poll() is None and (not path.exists() or path.stat().st_size < 20_000):
        time.sleep(0.002)
    first.send_signal(signal.SIGKILL)
    assert first.communicate()[0] == b"" or first.returncode == 0
    assert os.listdir(tmp_path) == ["model", "pass"] or not first.returncode
    with Journal(path) as journal:
        found = len(journal.records)
    assert found > 1
    again = subprocess.run([*words, "--resume", path], capture_output=True, check=True)
    assert again.stdout == subprocess.run(words, capture_output=True, check=True).stdout


def test_files_that_were_written_since_are_refused(tmp_path: Path):
    folder, path = write_sharded(tmp_path / "model"), tmp_path / "pass"
    ex.describe(folder, resume=path)
    before = path.read_bytes()
    os.utime(folder / "model-00002-of-00003.safetensors", (1, 1))
    with pytest.raises(
        InputError, match="written since; expected an earlier pass over the"
    ):
        ex.describe(folder, resume=path)
    assert path.read_bytes() == before


def test_what_is_not_its_pass_is_refused(tmp_path: Path):
    folder, path = write_sharded(tmp_path / "model"), tmp_path / "pass"
    ex.describe(folder, resume=path)
    with pytest.raises(InputError, match="is of a pass with another statistics"):
        ex.describe(folder, statistics="moments", resume=path)
    with pytest.raises(InputError, match="is of a pass with another select"):
        ex.describe(folder, "**/bias", resume=path)
    with Journal(path), pytest.raises(InputError, match="in use by another process"):
        ex.describe(folder, resume=path)
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    with pytest.raises(InputError, match="not a file that such a pass wrote"):
        ex.describe(folder, resume=thesis)
    assert thesis.read_text() == "years of work"
    with pytest.raises(InputError, match="arrays in memory"):
        ex.describe({"w": np.zeros(3)}, resume=path)
    with pytest.raises(InputError, match="cannot be written"):
        ex.describe(folder, resume=tmp_path / "no" / "pass")


@pytest.mark.parametrize("call", [ex.describe, ex.check_values, ex.spectrum, ex.digest])
@pytest.mark.parametrize("change", ["rewritten", "cut", "deleted"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, call, change: str):
    folder = write_sharded(tmp_path / "model")
    shard = folder / "model-00003-of-00003.safetensors"

    def progress(done: int, total: int) -> None:
        if not done or not shard.exists() or shard.stat().st_mtime == 1:
            return
        if change == "deleted":
            shard.unlink()
            return
        if change == "cut":
            os.truncate(shard, shard.stat().st_size - 1)
        os.utime(shard, (1, 1))

    with pytest.raises(TargetError, match="changed while it was read"):
        call(folder, progress=progress)


def test_progress_ends_with_all(tmp_path: Path):
    folder, seen = write_sharded(tmp_path / "model"), []
    whole = ex.describe(folder, progress=lambda done, total: seen.append((done, total)))
    total = sum(each.statistics.count for each in whole.tensors)
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_an_interrupted_pass_goes_on(tmp_path: Path):
    folder, path = write_sharded(tmp_path / "model"), tmp_path / "pass"
    with pytest.raises(KeyboardInterrupt):
        ex.describe(folder, resume=path, progress=killed_after(5))
    assert ex.describe(folder, resume=path) == ex.describe(folder)
