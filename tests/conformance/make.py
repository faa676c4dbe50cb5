"""Regenerate tests/data/goldens: `python -m tests.conformance.make [CASE ...]`.

Needs torch and transformers. A case that would select other experts after a relative change
of 1e-5 in every weight is rejected: rounding must not decide.
"""

import sys

import numpy as np
from transformers.utils import logging

from tests.conformance import goldens
from tests.conformance.cases import CASES
from tests.conformance.reference import answer_of

_JITTER = 1e-5


def main(names: list[str]) -> None:
    """Write the named cases; all without a name."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for case in CASES:
        if names and case.name not in names:
            continue
        outputs, shapes = answer_of(case)
        if "experts" in outputs:
            again, _ = answer_of(case, _JITTER)
            if not np.array_equal(again["experts"], outputs["experts"]):
                raise SystemExit(f"{case.name}: rounding decides which experts are used")
        goldens.write(case.name, outputs, shapes)
        print(case.name, *sorted(outputs))


if __name__ == "__main__":
    main(sys.argv[1:])
