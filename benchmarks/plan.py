"""Whole processes of `explorer plan`: the slowest of all catalogued models, with and without a scheme.

python benchmarks/plan.py [NAME...]
"""

import subprocess
import sys

from timing import best, script

_GOAL = 0.3
_KINDS = {
    "inference": (),
    "Q4_K_M on llama.cpp": ("--quantize", "Q4_K_M", "--engine", "llama.cpp"),
    "training on 16 chips": ("--train", "--device", "tpu-v5e", "--mesh", "fsdp=16"),
}


def main(names: list[str]) -> None:
    """Print the slowest model of each kind of plan."""
    explorer = script("explorer")
    if not names:
        words = [explorer, "catalog", "--format", "csv"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        names = [line.split(",")[0] for line in done.stdout.splitlines()[1:]]
    for kind, options in _KINDS.items():
        took: dict[str, float] = {}
        refused = []
        for name in names:
            words = [explorer, "plan", name, *options]
            try:
                took[name] = best(words, 3)
            except subprocess.CalledProcessError:
                refused.append(name)
        slowest = max(took, key=took.__getitem__)
        print(
            f"{kind}: {len(took)} models, slowest {slowest} {took[slowest]:.3f} s, "
            f"median {sorted(took.values())[len(took) // 2]:.3f} s (goal: under {_GOAL} s)"
        )
        if refused:
            print(f"  refused: {', '.join(refused)}")


if __name__ == "__main__":
    main(sys.argv[1:])
