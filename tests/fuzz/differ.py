"""`make differ`: changed seeds, read by explorer and by a reference reader, and where they differ.

    python -m tests.fuzz.differ --reference .venv-reference/bin/python --cases 2000

The reference runs in an environment of its own (`reference.py`). Each kind of difference is
printed with how many cases have it and the number of one. The exit code is 0: whether a
difference is meant is for docs/security.md to say.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from explorer.errors import InputError
from explorer.formats.files import list_path, load_path
from tests.fuzz.__main__ import changed
from tests.fuzz.reference import READERS
from tests.fuzz.seeds import seeds

_TIMEOUT = 1200  # seconds for one batch of files
_BATCH = 1000
_PLACES = re.compile(r"'[^']*'|\"[^\"]*\"|0x\w+|[0-9][0-9,.]*|/\S+")


def ours(path: Path) -> dict[str, Any]:
    """Return what explorer says of a file: its shapes, or the error."""
    try:
        listed = [list(shape) for shape in list_path(str(path)).shapes]
        load_path(str(path), lambda key: True)
    except InputError as error:
        return {"error": str(error).removeprefix(f"{path}: ")}
    return {"shapes": sorted(listed)}


def theirs(python: str, name: str, paths: list[Path]) -> list[dict[str, Any]]:
    """Return what the reference says of files; one that ends the process is "crashed"."""
    answers: list[dict[str, Any]] = []
    script = Path(__file__).with_name("reference.py")
    while len(answers) < len(paths):
        left = paths[len(answers) :]
        done = subprocess.run(
            [python, str(script), name],
            input="".join(f"{path}\n" for path in left),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
        answers += [json.loads(line) for line in done.stdout.splitlines()]
        if len(answers) < len(paths):
            answers.append({"error": f"crashed ({done.returncode})"})
    return answers


def kind_of(here: dict[str, Any], there: dict[str, Any]) -> str:
    """Return how two answers differ, without what is of one file alone; "" where they agree."""
    if "error" in here and "error" in there:
        return ""
    if "error" in here:
        return f"refused here: {_PLACES.sub('_', here['error'])}"
    if "error" in there:
        return f"read here, refused there: {_PLACES.sub('_', there['error'])}"
    return "" if here == there else "other tensors"


def differ(
    name: str, cases: int, number: int, python: str, kept: Path
) -> dict[str, list[int]]:
    """Return the cases of each kind of difference, and keep one of each."""
    found: dict[str, list[int]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        seed = seeds(Path(place))[name]
        for start in range(0, cases, _BATCH):
            numbers = range(start, min(start + _BATCH, cases))
            paths = []
            for case in numbers:
                folder = Path(place) / str(case)
                folder.mkdir()
                rng = random.Random(f"{name} {number} {case}")
                paths.append(seed.write(folder, changed(seed.parts, rng)))
            both = zip(map(ours, paths), theirs(python, name, paths), strict=True)
            for case, path, (here, there) in zip(numbers, paths, both, strict=True):
                if kind := kind_of(here, there):
                    if not found[kind]:
                        kept.mkdir(parents=True, exist_ok=True)
                        (kept / f"{name} {case}{path.suffix}").write_bytes(
                            path.read_bytes()
                        )
                    found[kind].append(case)
    return found


def main() -> int:
    """Print the differences of each format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", required=True, help="the Python of its environment")
    parser.add_argument("--cases", type=int, default=2000, help="of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="*", default=list(READERS))
    options = parser.parse_args()
    kept = Path(__file__).parent / "found"
    for name in options.formats:
        found = differ(name, options.cases, options.seed, options.reference, kept)
        count = sum(map(len, found.values()))
        print(f"{name}: {options.cases:,} cases, {count:,} differ", flush=True)
        for kind, cases in sorted(found.items(), key=lambda item: -len(item[1])):
            print(f"  {len(cases):6,}  {kind}  (case {cases[0]})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
