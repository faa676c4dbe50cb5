"""Pipes, devices and folders in the place of a run's files are not waited for or read on."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import optax
import pytest

from explorer.errors import ExplorerError, FormatError
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.checkpoints.manifest import Manifest, read_manifest, write_manifest
from explorer.training.data.batches import map_tokens
from explorer.training.data.text import library_text
from explorer.training.logging.history import read_jsonl
from tests.hostile_files import SPECIAL
from tests.training import tiny

OPTIMIZER = optax.sgd(0.1)
LIKE = tiny.network_state(OPTIMIZER)


@pytest.fixture(autouse=True)
def _within_a_minute() -> Iterator[None]:
    """End a test that waits for a pipe, or reads a device, with an error."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with two checkpoints, and a metric in each."""
    folder = tmp_path_factory.mktemp("special") / "run"
    with Checkpoints(folder, best=("loss", "min")) as checkpoints:
        for step in (1, 2):
            checkpoints.save(LIKE.replace(step=jnp.int32(step)), metrics={"loss": 1.0})
    return folder


# of which the manifest holds no checksum, as Orbax reads nothing of the state from them
UNREAD = ("_CHECKPOINT_METADATA", "commit_success.txt")


def files_of(step: Path) -> list[str]:
    found = [p.relative_to(step).as_posix() for p in step.rglob("*") if p.is_file()]
    assert {"manifest.json", "_CHECKPOINT_METADATA", "metrics/metrics"} < set(found)
    return sorted(found)


@pytest.mark.parametrize("kind", SPECIAL)
def test_in_the_newest_the_one_before_is_taken(kind: str, saved: Path, tmp_path: Path):
    for number, name in enumerate([*files_of(saved / "2"), "record.json"]):
        run = tmp_path / str(number)
        shutil.copytree(saved, run)
        (run / "2" / name).unlink(missing_ok=True)
        SPECIAL[kind](run / "2" / name)
        with Checkpoints(run) as checkpoints:
            found = checkpoints.restore(LIKE)
        assert found is not None
        if kind == "a folder" and name.rpartition("/")[2] in UNREAD:
            continue
        assert found.step == 1, name
        (remark,) = found.remarks
        assert "\n" not in remark
        assert remark.endswith("; it is set aside as 2.broken")
        if kind != "a folder":
            assert "is not a regular file" in remark


def test_a_file_that_has_grown_is_read_to_its_size_and_a_byte_more(
    saved: Path, tmp_path: Path
):
    """A terabyte that is a hole takes no room, but hours to read."""
    for number, name in enumerate(files_of(saved / "2")):
        run = tmp_path / str(number)
        shutil.copytree(saved, run)
        with (run / "2" / name).open("r+b") as file:
            file.truncate(1 << 40)
        with Checkpoints(run) as checkpoints:
            found = checkpoints.restore(LIKE)
        assert found is not None
        assert found.step == 1, name


@pytest.mark.parametrize(
    "name", ["/dev/zero", "../../2/manifest.json", "a/../../b", "a\0b"]
)
def test_a_manifest_names_files_of_its_folder_alone(name: str, tmp_path: Path):
    write_manifest(tmp_path, Manifest(step=1))
    (tmp_path / "manifest.json").unlink()
    forged = Manifest(step=1, files={name: (1 << 60, 0)})
    _write_forged(tmp_path, forged)
    with pytest.raises(FormatError) as caught:
        read_manifest(tmp_path, 1, {})
    assert "\n" not in str(caught.value)
    assert "outside its folder" in str(caught.value) or "cannot be read" in str(
        caught.value
    )


def _write_forged(folder: Path, manifest: Manifest) -> None:
    import zlib

    import msgspec

    body = msgspec.json.encode(manifest)
    document = b'{"manifest":%b,"crc32":%d}' % (body, zlib.crc32(body))
    (folder / "manifest.json").write_bytes(document)


@pytest.mark.parametrize("kind", SPECIAL)
def test_config_history_and_data(kind: str, tmp_path: Path):
    def refused(call) -> str:
        with pytest.raises(ExplorerError) as caught:
            call()
        return str(caught.value)

    for name in ("run.json", "h.jsonl", "tokens.bin", "abc.py"):
        (tmp_path / name).mkdir()
        SPECIAL[kind](tmp_path / name / name)
    run, lines = tmp_path / "run.json", tmp_path / "h.jsonl" / "h.jsonl"
    assert refused(lambda: Checkpoints(run)) == (
        f"{run}/run.json: is not a regular file; train into another folder"
    )
    assert (
        refused(lambda: read_jsonl(lines)) == f"{lines}: is not a file; expected a history"
    )
    tokens = tmp_path / "tokens.bin" / "tokens.bin"
    assert refused(lambda: map_tokens(tokens)) == f"{tokens}: is not a regular file"
    (tmp_path / "abc.py" / "abc.py").rename(tmp_path / "abc.py" / "argparse.py")
    assert "holds no source" in refused(lambda: library_text(9, tmp_path / "abc.py"))
    assert os.path.lexists(run / "run.json")
