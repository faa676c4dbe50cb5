"""doctor: what is installed, which extras are missing, which devices JAX sees."""

import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import click

from explorer import __file__ as package
from explorer import __version__
from explorer.cli.console import echo_result, format_option
from explorer.document.records import Column, Document, Paragraph, Table, Terms
from explorer.storage.local import exists, read_whole

__all__ = ["doctor"]

_PROJECT = "jax-explorer"
_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "msgspec",
    "click",
)
_EXTRAS = {
    "gguf": "values of GGUF's block formats",
    "text": "tokenizers of models with real weights",
    "tensorboard": "event files of a run",
    "report": "explorer report: one HTML file",
    "plot": "pictures of plans, statistics and runs",
    "tui": "explorer browse: a model in the terminal",
    "tpu-aot": "plan --compile for TPUs, without one",
    "qwix": "quantised trees as qwix's arrays",
    "recipes": "the digits of train digits",
}
# the extra's packages; the first one's version is shown
_REQUIREMENT = re.compile(r"([\w.-]+).*extra\s*==\s*['\"]([\w-]+)['\"]")
_SECONDS = 60
_LARGEST = 1 << 16  # bytes of what an installer says
_ASK_JAX = "import json, jax; print(json.dumps([f'{d.device_kind} ({d.platform})' for d in jax.devices()]))"
_COMPLETION = 'eval "$(_EXPLORER_COMPLETE=bash_source explorer)"'
_FOLDERS = ("JAX_COMPILATION_CACHE_DIR", "HF_HOME", "TMPDIR")


@click.command()
@click.option("--no-devices", is_flag=True, help="Do not start JAX to ask for devices.")
@format_option
def doctor(no_devices: bool, form: str) -> None:
    """Print what is installed, which extras are missing, and which devices JAX sees.

    Nothing is changed or downloaded. JAX is asked in a process of its own, for 60 seconds at most.

    \b
    Examples:
      explorer doctor
      explorer doctor --no-devices --format json
    """
    found = _found(None if no_devices else _devices())
    echo_result(
        form,
        document=lambda: _document(found),
        records=lambda: found["extras"],
        value=lambda: found,
    )


def _found(devices: dict[str, Any] | None) -> dict[str, Any]:
    repository = _repository()
    extras = [_extra(name, what) for name, what in _EXTRAS.items()]
    return {
        "explorer": __version__,
        "repository": repository,
        "read_from": _folder(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "extras": extras,
        "command": _command(extras, repository),
        "devices": devices,
        "folders": {name: os.environ.get(name) for name in _FOLDERS},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _folder() -> str:
    """Return the folder that the running package is in."""
    return os.path.dirname(os.path.dirname(os.path.abspath(package)))


def _repository() -> str | None:
    """Return the folder that an editable installation reads; None for any other one."""
    try:
        found = metadata.distribution(_PROJECT)
    except metadata.PackageNotFoundError:
        return None
    folder = f"{_PROJECT.replace('-', '_')}-{found.version}.dist-info"
    place = str(found.locate_file(f"{folder}/direct_url.json"))
    origin = json.loads(read_whole(place, _LARGEST)) if exists(place) else {}
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return url2pathname(urlparse(origin["url"]).path)


def _extra(name: str, what: str) -> dict[str, Any]:
    """Return what an extra is for and the packages of it; none where one is missing."""
    versions = {package: _version(package) for package in _packages_of(name)}
    is_there = bool(versions) and None not in versions.values()
    installed = ", ".join(f"{package} {version}" for package, version in versions.items())
    return {"extra": name, "for": what, "installed": installed if is_there else ""}


def _command(extras: list[dict[str, Any]], repository: str | None) -> str:
    """Return what installs the extras that are missing; "" where none is."""
    missing = ",".join(extra["extra"] for extra in extras if not extra["installed"])
    if not missing:
        return ""
    return f"pip install -e '{repository or '.'}[{missing}]'"


def _packages_of(extra: str) -> list[str]:
    try:
        required = metadata.requires(_PROJECT) or []
    except metadata.PackageNotFoundError:
        return []
    found = (_REQUIREMENT.match(requirement) for requirement in required)
    return [match[1] for match in found if match and match[2] == extra]


def _devices() -> dict[str, Any]:
    """Return the devices that JAX sees, or why it did not answer, from a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_JAX],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"seen": [], "error": f"JAX did not answer in {_SECONDS} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"seen": [], "error": lines[-1]}
    return {"seen": json.loads(done.stdout.strip().splitlines()[-1]), "error": ""}


def _document(found: dict[str, Any]) -> Document:
    head = Paragraph(
        f"explorer {found['explorer']}, read from {found['read_from']}; Python {found['python']}"
    )
    packages = ", ".join(
        f"{name} {version or 'is missing'}" for name, version in found["packages"].items()
    )
    columns = (Column("extra"), Column("installed"), Column("for", rank=1))
    rows = [
        (extra["extra"], extra["installed"] or "missing", extra["for"])
        for extra in found["extras"]
    ]
    items = [("devices", _seen(found["devices"]))]
    items += [(name, value or "unset") for name, value in found["folders"].items()]
    commands = [("completion in bash", _COMPLETION)]
    if found["command"]:
        where = "" if found["repository"] else ", in the repository"
        commands.insert(0, (f"to install{where}", found["command"]))
    width = max(len(name) for name, _ in (*items, *commands))
    return Document(
        blocks=(
            head,
            Terms((("packages", packages),), width),
            Table(columns, rows).without_empty_columns(),
            Terms(tuple(commands), width, commands=True),
            Terms(tuple(items), width),
        )
    )


def _seen(devices: dict[str, Any] | None) -> str:
    if devices is None:
        return "not asked for"
    if devices["error"]:
        return devices["error"]
    counts = {kind: devices["seen"].count(kind) for kind in devices["seen"]}
    return ", ".join(f"{number} x {kind}" for kind, number in counts.items())
