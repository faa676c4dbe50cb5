"""Which compiler: XLA for CPU, for the accelerators here, or for a TPU slice that is elsewhere.

None needs the devices: a client for CPU has as many as it is asked for, and the compiler in
the libtpu wheel compiles for any slice.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from math import prod
from typing import Any, NamedTuple

from explorer.errors import InputError, MissingPackageError, first_line, printable

__all__ = ["Platform", "platform_for", "topology_of"]

# chips of a slice -> its layout, of chips that are in a plane and of those in a cube
_PLANES = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}  # fmt: skip
_CUBES = {4: "2x2x1", 8: "2x2x2", 16: "2x2x4", 32: "2x4x4", 64: "4x4x4", 128: "4x4x8"}
_TPUS = {"v5e": _PLANES, "v5p": _CUBES, "v6e": _PLANES}
_AS_NO_TPU_IS_HERE = {
    "TPU_SKIP_MDS_QUERY": "1",  # no cloud is asked which TPU this machine has
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}


class Platform(NamedTuple):
    """A compiler and the devices it compiles for."""

    name: str
    compiler: str
    devices: list[Any]


def topology_of(device: str, count: int, topology: str | None = None) -> str:
    """Return the name of a TPU slice as the compiler knows it.

    Args:
        device: "tpu-v5e".
        count: how many chips.
        topology: its layout ("4x4"); None for the usual one of so many chips.

    Raises:
        InputError: a TPU that the compiler does not know, or a layout that is none.

    >>> topology_of("tpu-v5e", 16), topology_of("tpu-v5p", 16, "2x2x4")
    ('v5e:4x4', 'v5p:2x2x4')
    """
    generation = device.lower().partition("tpu-")[2]
    if generation not in _TPUS:
        raise InputError(
            "--compile",
            found=f"{printable(device, 40)} has no compiler here",
            expected=f"one of {', '.join(f'tpu-{name}' for name in _TPUS)}",
        )
    layout = topology or _TPUS[generation].get(count, "")
    if not re.fullmatch(r"\d{1,3}(x\d{1,3}){1,2}", layout):
        found = f"is {printable(topology, 40)!r}" if topology else f"{count} chips"
        known = ", ".join(map(str, _TPUS[generation]))
        raise InputError(
            "--topology",
            found=found,
            expected=f"the layout of a slice such as 4x4; without one, {known} chips",
        )
    return f"{generation}:{layout}"


def platform_for(
    count: int, device: str | None = None, topology: str | None = None
) -> Platform:
    """Return the compiler for a kind of device, and as many devices of it.

    Args:
        count: how many.
        device: "tpu-v5e" and its like; "here" for the default devices of JAX; anything else
            is compiled for CPU.
        topology: the layout of a TPU slice.

    Raises:
        InputError: fewer devices than that, or a slice of another size.
        MissingPackageError: a TPU, and no libtpu.
    """
    if device is not None and device.lower().startswith("tpu-"):
        return _tpu(topology_of(device, count, topology), count)
    if topology is not None:
        raise InputError(
            "--topology",
            found=f"no TPU to have it: --device {printable(device, 40)}",
            expected="a layout with --device tpu-v5e",
        )
    return _here(count) if device == "here" else _cpu(count)


def _versions(*packages: str) -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in packages)


def _cpu(count: int) -> Platform:
    return Platform("cpu", f"XLA for CPU ({_versions('jax', 'jaxlib')})", _cpus(count))


def _cpus(count: int) -> list[Any]:
    """Return CPU devices of a client of their own: those of the process stay as they are."""
    import jax

    try:
        from jaxlib import xla_client

        return xla_client.make_cpu_client(num_devices=count).devices()
    except (ImportError, AttributeError, TypeError):  # another jaxlib
        devices = jax.devices("cpu")
    if len(devices) < count:
        raise InputError(
            "--compile",
            found=f"{len(devices)} CPU devices in this process",
            expected=f"{count}",
            cure=f"set XLA_FLAGS=--xla_force_host_platform_device_count={count}",
        )
    return devices[:count]


def _here(count: int) -> Platform:
    import jax

    devices = jax.devices()
    if len(devices) < count:
        raise InputError(
            "--device here",
            found=f"{len(devices)} devices",
            expected=f"{count}, as many as the mesh has",
            cure="leave out --device to compile for CPU",
        )
    kind = devices[0].device_kind
    name = devices[0].platform
    compiler = f"XLA for {name.upper()}, {kind} ({_versions('jax', 'jaxlib')})"
    return Platform(name, compiler, devices[:count])


def _tpu(topology: str, count: int) -> Platform:
    if find_spec("libtpu") is None:
        raise MissingPackageError(
            "--compile",
            found="the compiler for TPUs is not installed",
            cure="pip install -e '.[tpu-aot]' in the repository (libtpu, 200 MB; needs no TPU)",
        )
    sizes = [int(size) for size in topology.partition(":")[2].split("x")]
    # a single chip is a part of a host, which has four
    bounds = {} if prod(sizes) >= 4 else {"chips_per_host_bounds": (1, 1, 1)}
    with _without_tpu():
        from jax.experimental import topologies

        try:
            devices = topologies.get_topology_desc(topology, "tpu", **bounds).devices
        except Exception as error:
            raise InputError(
                "--topology", found=first_line(error), expected="a slice that exists"
            ) from None
    if len(devices) != count:
        raise InputError(
            "--topology",
            found=f"{topology} has {len(devices)} devices",
            expected=f"{count}, as many as the mesh has",
        )
    compiler = f"XLA for {topology} ({_versions('libtpu', 'jax')})"
    return Platform(topology, compiler, list(devices))


@contextmanager
def _without_tpu() -> Iterator[None]:
    """Keep libtpu from looking for a TPU while it is loaded."""
    before = {name: os.environ.get(name) for name in _AS_NO_TPU_IS_HERE}
    for name, value in _AS_NO_TPU_IS_HERE.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
