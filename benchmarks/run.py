"""Run every benchmark and print its ratios: python benchmarks/run.py"""

import platform
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    print(f"{platform.machine()}, Python {platform.python_version()}")
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name not in ("run.py", "timing.py"):
            print(f"\n== {path.stem} ==", flush=True)
            subprocess.run([sys.executable, path], check=True)
