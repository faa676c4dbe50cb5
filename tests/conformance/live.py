"""Recompute the reference's outputs and compare: `python -m tests.conformance.live [CASE ...]`.

Needs torch and transformers. Exits with 1 if an output differs from the stored one by more
than 1e-5 relative to the largest value, if a router selects other experts, or if tensors
have other names or shapes.
"""

import sys

import numpy as np
from transformers.utils import logging

from tests.conformance import goldens
from tests.conformance.cases import CASES, Case
from tests.conformance.reference import answer_of

_LIMIT = 1e-5


def main(names: list[str]) -> int:
    """Print one line per case; return 1 if any differs, else 0."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    unknown = set(names) - {case.name for case in CASES}
    if unknown:
        raise SystemExit(f"no case {', '.join(sorted(unknown))}")
    worst = 0.0
    for case in CASES:
        if not names or case.name in names:
            gap = _gap(case)
            print(f"{case.name:24} {gap:.1e}{'  DIFFERS' if gap > _LIMIT else ''}")
            worst = max(worst, gap)
    return int(worst > _LIMIT)


def _gap(case: Case) -> float:
    """Return the largest difference of a case; infinite if names or experts differ."""
    written, listing = goldens.read(case.name)
    outputs, shapes = answer_of(case)
    if shapes != listing or outputs.keys() != written.keys():
        return float("inf")
    if not np.array_equal(outputs.pop("experts", 0), written.pop("experts", 0)):
        return float("inf")
    return max(goldens.difference(outputs[name], written[name]) for name in written)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
