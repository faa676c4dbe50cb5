"""`make fuzz`: built bombs, then changed seeds of every format, each case in a child.

    python -m tests.fuzz --seconds 60 --seed 0 --formats safetensors gguf

A case that breaks a promise is kept in tests/fuzz/found and named; the exit code is then 1.
"""

import argparse
import os
import random
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import ml_dtypes  # noqa: F401 - before the children are forked
import numpy as np  # noqa: F401 - as above

import explorer as ex
from explorer.errors import InputError
from explorer.formats.files import load_path
from explorer.formats.registry import reader_of
from tests.fuzz.bombs import BOMBS
from tests.fuzz.cutting import Parts, Seed
from tests.fuzz.measure import broken_promise, run, stretch
from tests.fuzz.seeds import seeds

FOUND, KEPT = Path(__file__).parent / "found", Path(__file__).parent / "kept"
_READERS = (
    "dcp",
    "deepspeed",
    "flax_msgpack",
    "gguf",
    "numpy_files",
    "orbax",
    "pytorch",
    "safetensors",
)
_NUMBERS = (
    0,
    1,
    2,
    255,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 40,
    1 << 62,
    (1 << 63) - 1,
)
_TEXTS = (
    b"-1",
    b"-0",
    b"1e999",
    b"NaN",
    b"null",
    b"9" * 40,
    b"[",
    b"}",
    b'""',
    b"1.5",
    b"true",
)


def read_both(path: Path) -> int:
    """Explore a file and load it; return the bytes of its arrays."""
    model = ex.explore(str(path))
    str(model)
    arrays = load_path(str(path), lambda key: True)
    return sum(array.nbytes for array in arrays.values())


def changed(parts: Parts, rng: random.Random) -> Parts:
    """Return parts with one to four of them dropped, doubled, swapped, or given other numbers."""
    parts = list(parts)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(parts))
        match rng.randrange(6):
            case 0 if len(parts) > 1:
                del parts[at]
            case 1:
                parts.insert(at, parts[rng.randrange(len(parts))])
            case 2:
                other = rng.randrange(len(parts))
                parts[at], parts[other] = parts[other], parts[at]
            case 3:
                parts[at] = _other_number(parts[at], rng)
            case 4:
                raw = bytearray(parts[at] or b"\0")
                raw[rng.randrange(len(raw))] = rng.randrange(256)
                parts[at] = bytes(raw)
            case _:
                parts[at] = rng.choice(_TEXTS)
    return parts


def _other_number(part: bytes, rng: random.Random) -> bytes:
    number = rng.choice(_NUMBERS)
    if part.isdigit():
        return str(number).encode()
    opcode = part[:1] if len(part) in (2, 5) else b""
    width = len(part) - len(opcode)
    order = rng.choice("<>")
    return opcode + struct.pack(f"{order}Q", number)[:width] if width <= 8 else part


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    files = (
        [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    )
    return sum(file.stat().st_size for file in files)


def built(build: Callable[[Path], Path], folder: Path) -> Path:
    """Build a file in a child, so that this process, which is forked again and again, stays small."""
    place = folder / ".path"
    child = os.fork()
    if child == 0:
        place.write_text(str(build(folder)))
        os._exit(0)
    os.waitpid(child, 0)
    path = Path(place.read_text())
    place.unlink()
    return path


def bombs() -> list[str]:
    """Return what is wrong with the built bombs, one line each."""
    faults = []
    for path in sorted(KEPT.iterdir()):  # what broke a promise once
        fault = broken_promise(run(lambda path=path: read_both(path)), size_of(path))
        faults += [f"{path.name}: {fault}"] if fault else []
    for name, build in BOMBS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = built(build, Path(folder))
            fault = broken_promise(
                run(lambda path=path: read_both(path)), size_of(Path(folder))
            )
            faults += [f"{name}: {fault}"] if fault else []
    return faults


def fuzz(name: str, seconds: float, number: int) -> tuple[int, list[str]]:
    """Run changed seeds of one format; return how many, and the faults."""
    faults: list[str] = []
    at, end = 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as place:
        seed = seeds(Path(place))[name]
        folder = Path(place) / "case"
        folder.mkdir()

        def act(case: int) -> int:
            read = seed.read or read_both
            return read(write_case(seed, folder, f"{name} {number} {case}", case))

        if not name.startswith(
            "orbax"
        ):  # whose library starts threads, which a fork does not have
            with suppress(InputError):  # values of DCP are refused
                act(-1)  # what it imports, each child has
        while time.monotonic() < end:
            at, alone = stretch(act, at, end)
            if alone:
                outcome = run(lambda at=at: act(at))
                fault = broken_promise(outcome, size_of(folder))
                if fault and fault not in faults:
                    faults.append(fault)
                    kept = FOUND / f"{name} {number} {at}"
                    shutil.copytree(folder, kept, dirs_exist_ok=True)
                at += 1
    return at, faults


def write_case(seed: Seed, folder: Path, words: str, case: int) -> Path:
    """Write a case into a folder, in the place of the one before; case -1 is the seed."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    parts = seed.parts if case < 0 else changed(seed.parts, random.Random(words))
    return seed.write(folder, parts)


def main() -> int:
    """Run what the options say and print a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60, help="for all formats together"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="*", help="by default, all")
    parser.add_argument("--no-bombs", action="store_true")
    options = parser.parse_args()
    for reader in _READERS:
        reader_of(reader)
    with tempfile.TemporaryDirectory() as folder:
        names = options.formats or list(seeds(Path(folder)))
    faults = [] if options.no_bombs else bombs()
    if not options.no_bombs:
        print(f"{'bombs':12} {len(BOMBS):9,} cases {len(faults)} faults", flush=True)
    for name in names:
        count, found = fuzz(name, options.seconds / len(names), options.seed)
        print(f"{name:12} {count:9,} cases {len(found)} faults", flush=True)
        faults += [f"{name}: {fault}" for fault in found]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
