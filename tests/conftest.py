"""What tests of several folders need around them, and which of them are slow.

`make quick` leaves out what is marked here: tests that start processes, need several devices,
train, or are marked slow by hand.
"""

import gc
import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import jax
import pytest

from tests.compiler import flags_of_small_programs

ROOT = Path(__file__).parent
FOLDERS = {"training": "training", "recipes": "training"}
# with `--dist loadfile --no-loadscope-reorder`: the longest files start first
ORDER = ("devices", "process", "training", "slow")
_running: list[pytest.Item] = []
_WEEK = 7 * 24 * 3600  # seconds


def pytest_configure(config: pytest.Config) -> None:
    """Compile in little time, and a program once for all workers and the runs of a week.

    Programs of tests run a few times: most of their time would be the compiler's. Processes
    that tests start compile as users' do, unless a test says otherwise: nothing is set in the
    environment. `--cache-clear` forgets what is compiled.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    _compile_small_programs()
    if (cache := getattr(config, "cache", None)) is None:
        return
    folder = cache.mkdir("compiled")
    if not hasattr(config, "workerinput"):
        for file in folder.iterdir():
            if file.stat().st_mtime < time.time() - _WEEK:
                file.unlink(missing_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_finish() -> None:
    """Look for cycles seldom, and not among the tests and modules, which stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _compile_small_programs() -> None:
    """Compile small programs in half of the time; XLA reads its flags once, here."""
    before = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = " ".join((before, *flags_of_small_programs()))
    jax.devices()
    os.environ["XLA_FLAGS"] = before
    if not before:
        del os.environ["XLA_FLAGS"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make thorough`."""
    parser.addoption(
        "--thorough", action="store_true", help="all members of a matrix, not some alone"
    )


def _without_the_rest(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes: the others than the representatives, whole tests."""
    kept, rest, unknown = [], [], {}
    is_thorough = config.getoption("--thorough")
    for item in items:
        if item.get_closest_marker("thorough"):
            (kept if is_thorough else rest).append(item)
            continue
        marker = item.get_closest_marker("representatives")
        if marker is None or not isinstance(item, pytest.Function):
            kept.append(item)
            continue
        words = {item.callspec.id}
        words |= {str(getattr(v, "name", v)) for v in item.callspec.params.values()}
        found = words & set(marker.args)
        (kept if found or is_thorough else rest).append(item)
        left = unknown.setdefault(item.function, set(marker.args))
        left -= found
    for function, names in unknown.items():
        if names and not config.args_source.name == "ARGS":
            raise pytest.UsageError(f"{function.__name__} has no case {sorted(names)}")
    items[:] = kept
    config.hook.pytest_deselected(items=rest)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test by its folder and by what it reaches, then put slow files first."""
    _without_the_rest(config, items)
    ranks: dict[Path, int] = {}
    for item in items:
        folder = (
            item.path.relative_to(ROOT).parts[0] if item.path.is_relative_to(ROOT) else ""
        )
        found = {FOLDERS[folder]} if folder in FOLDERS else set()
        for name in found | _reached(item):
            item.add_marker(name)
        rank = min(
            (ORDER.index(m.name) for m in item.iter_markers() if m.name in ORDER),
            default=len(ORDER),
        )
        ranks[item.path] = min(rank, ranks.get(item.path, len(ORDER)))
    items.sort(key=lambda item: ranks[item.path])


def _reached(item: pytest.Item) -> set[str]:
    """Return the markers of what a test and its fixtures call, however far down."""
    if not isinstance(item, pytest.Function):
        return set()
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    functions = (item.function, *(each[-1].func for each in fixtures))
    return {name for function in functions for name in _reached_by(function)}


@cache
def _reached_by(function: Callable[..., Any]) -> set[str]:
    found: set[str] = set()
    _walk(function, found, set())
    return found


def _walk(function: Callable[..., Any], found: set[str], seen: set[CodeType]) -> None:
    function = inspect.unwrap(function)
    codes = [getattr(function, "__code__", None)]
    while codes:
        code = codes.pop()
        if code is None or code in seen:
            continue
        seen.add(code)
        texts = [const for const in code.co_consts if isinstance(const, str)]
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]
        for name in code.co_names:
            found_there: Any = getattr(function, "__globals__", {}).get(name)
            value = inspect.unwrap(found_there)  # cached
            if value is subprocess:
                found.add("process")
            elif isinstance(value, str):
                texts.append(value)
            elif inspect.isfunction(value) and value.__module__.startswith("tests."):
                _walk(value, found, seen)
        if any("xla_force_host_platform_device_count" in text for text in texts):
            found.add("devices")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Keep which test runs, for the check below."""
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


def _no_hidden_process(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail a test that starts a process and is not marked `process`.

    Matplotlib lists the system's fonts when it is imported for the first time on a machine.
    """
    if (
        event == "subprocess.Popen"
        and arguments[0] != "fc-list"
        and _running
        and not _running[-1].get_closest_marker("process")
    ):
        raise AssertionError(f"starts {arguments[0]} and is not marked `process`")


sys.addaudithook(_no_hidden_process)


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Handle Ctrl-C, in commands too, even if the process that started the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
