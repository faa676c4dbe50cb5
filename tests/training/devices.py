"""Processes with devices of their own, which a test process has no more of than one."""

import os
import subprocess
import sys
from pathlib import Path

import jax

from tests.compiler import FEW_PASSES, flags_of_small_programs

__all__ = ["environment", "start"]

ROOT = Path(__file__).parents[2]


def start(module: str, *arguments: object, devices: int) -> subprocess.Popen[str]:
    """Return a process that runs a module of these tests on so many CPU devices."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.training.{module}", *map(str, arguments)],
        cwd=ROOT,
        env=environment(devices),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environment(devices: int) -> dict[str, str]:
    """Return the environment of a process with so many CPU devices."""
    flags = (
        f"--xla_force_host_platform_device_count={devices}",
        *FEW_PASSES,
        *flags_of_small_programs(),
    )
    return {**os.environ, **_kept(), "XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}


def _kept() -> dict[str, str]:
    """Return where programs are kept that are compiled; tests/conftest.py says where."""
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore
    return (
        {}
        if not folder
        else {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    )
