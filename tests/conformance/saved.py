"""Folders that explorer saved, run by transformers: the outputs are those of the goldens.

python -m tests.conformance.saved write FOLDER     with explorer: every family, twice where
                                                   llama.cpp has it: through GGUF as well
python -m tests.conformance.saved check FOLDER     with torch and transformers
"""

import sys
from pathlib import Path

import numpy as np

from tests.conformance import goldens
from tests.conformance.cases import CASES, Case
from tests.conformance.weights import weights_of

_LIMIT = 1e-5  # relative to the largest value, as in live.py
_OTHERS = ("grok-1",)  # transformers has no class of it
_THROUGH_GGUF = "_through_gguf"


def write(folder: Path) -> int:
    """Write a folder for each case; return 0."""
    import explorer as ex
    from explorer.errors import InputError
    from explorer.pretrained import from_tensors

    for case in _cases():
        _, shapes = goldens.read(case.name)
        weights = weights_of(shapes, case.model_type)
        _, params = from_tensors(case.config, weights)
        ex.save(params, folder / case.name, config=case.config)
        path = folder / f"{case.name}.gguf"
        try:
            ex.save(params, path, config=case.config)
        except InputError as error:
            print(f"{case.name:24} not as GGUF: {str(error)[:100]}")
        else:
            if case.model_type == "mistral" and case.config["sliding_window"]:
                continue  # which llama.cpp leaves out
            ex.save(path, folder / f"{case.name}{_THROUGH_GGUF}")
    return 0


def check(folder: Path) -> int:
    """Print a line for each folder; return 1 if any differs, else 0."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    worst, number = 0.0, 0
    for case in _cases():
        for name in (case.name, f"{case.name}{_THROUGH_GGUF}"):
            if (folder / name).is_dir():
                gap = _gap(case, folder / name)
                print(f"{name:36} {gap:.1e}{'  DIFFERS' if gap > _LIMIT else ''}")
                worst, number = max(worst, gap), number + 1
    print(f"{number} folders, largest difference {worst:.1e}")
    return int(worst > _LIMIT)


def _gap(case: Case, folder: Path) -> float:
    """Return the largest difference of the outputs; infinite if experts differ."""
    from tests.conformance.reference import outputs_of

    written, _ = goldens.read(case.name)
    found = goldens.comparable(case, outputs_of(case, folder))
    if not np.array_equal(found.pop("experts", 0), written.pop("experts", 0)):
        return float("inf")
    return max(goldens.difference(found[name], written[name]) for name in written)


def _cases() -> list[Case]:
    return [c for c in CASES if c.model_type not in _OTHERS and not c.reference_type]


if __name__ == "__main__":
    sys.exit({"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2])))
