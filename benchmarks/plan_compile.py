"""How long `explorer plan --compile` takes, whole process, for a large model on an abstract mesh.

Nothing is allocated and no device is needed: XLA for CPU compiles the real training step of
sixteen devices from shapes. The budget is a minute on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import time

BUDGET = 60.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama-3.1-8b", help="a name of the catalogue")
    parser.add_argument("--mesh", default="fsdp=16")
    parser.add_argument("--context", default="4096")
    parser.add_argument("--remat", default="full", choices=["none", "selective", "full"])
    options = parser.parse_args()
    words = [sys.executable, "-m", "explorer", "plan", options.model, "--train"]
    words += ["--mesh", options.mesh, "--context", options.context]
    words += ["--remat", options.remat, "--compile", "--format", "json"]
    start = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    took = time.perf_counter() - start
    found = json.loads(done.stdout)
    compiled = found["compiled"]
    print(f"{found['target']}: {compiled['program']}")
    for name in ("arguments", "parameters", "optimizer", "batch", "temporaries"):
        print(f"  {name:12}{compiled[name]:>18,} bytes a device")
    print(f"  by {compiled['compiler']}, on {os.cpu_count()} cores")
    print(
        f"  lowered in {compiled['lowering_seconds']:.1f} s, compiled in "
        f"{compiled['compiling_seconds']:.1f} s, whole process {took:.1f} s "
        f"(budget {BUDGET:.0f} s): {'met' if took < BUDGET else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
