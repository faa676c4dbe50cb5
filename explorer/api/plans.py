"""What a target needs to run and to train."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from explorer.errors import check_type
from explorer.targets import resolve
from explorer.targets.inventories import (
    config_beside,
    inventory_of,
    known_architecture_of,
)

if TYPE_CHECKING:
    from explorer.sizing.records import MemoryPlan, Workload
    from explorer.sizing.subject import Subject
    from explorer.sizing.sweep import Sweep

__all__ = [
    "plan",
    "planner_of",
    "subject_of",
    "sweep",
]


def plan(
    target: Any,
    *inputs: Any,
    workload: "Workload | None" = None,
    device: str | None = None,
    optimizer: Any = None,
    **settings: Any,
) -> "MemoryPlan":
    """Return what a model needs to run or to train, term by term, and what it fits.

    Args:
        target, *inputs: as for `explore`.
        workload: what the model is to do; None for inference of one sequence.
        device: a name of `explorer devices`, with a number ("h200:8"), or "here".
        optimizer: an optax transformation, whose state is measured from its own `init`; or
            the name of one.
        **settings: fields of the workload, over those of `workload` (`context=8192`), and of
            a `Variation` of the model (`layers=16`).

    Raises:
        InputError: as `explore`; also a setting, device, engine or scheme that does not exist.

    >>> found = plan("llama-2-7b", context=4096, dtype="float16")
    >>> {term.name: term.bytes for term in found.terms if term.is_exact}
    {'parameters': 13476831232, 'kv_cache': 2147483648}
    """
    subject = subject_of(target, inputs)
    return planner_of(subject, workload, device, optimizer)(settings)


def sweep(
    target: Any,
    axes: "Mapping[str, Sequence[Any]]",
    *inputs: Any,
    workload: "Workload | None" = None,
    device: str | None = None,
    optimizer: Any = None,
    **settings: Any,
) -> "Sweep":
    """Return a table of plans over every combination of settings.

    Args:
        target, workload, device, optimizer, **settings: as for `plan`.
        axes: the values of each setting that varies; "device" may be one. A number for
            "mesh" is every mesh of so many devices that suits the model.
        *inputs: as for `explore`.

    Raises:
        InputError: as `plan`; also no combination, or more than 10,000.

    >>> table = sweep("llama-2-7b", {"dtype": ["float32", "float16"], "batch": [1, 8]})
    >>> [row.terms["kv_cache"] // 2**20 for row in table.rows]
    [4096, 32768, 2048, 16384]
    """
    from explorer.sizing.sweep import sweep_of

    check_type("sweep", axes, Mapping, "a dict of settings and their values")
    subject = subject_of(target, inputs)
    planned = planner_of(subject, workload, device, optimizer)
    if isinstance(number := axes.get("mesh"), int):
        from explorer.sizing.meshes.table import suitable_meshes

        train = settings.get("train", workload is not None and workload.train)
        meshes = suitable_meshes(subject, number, train)
        axes = {**axes, "mesh": meshes}
    found = sweep_of(lambda combination: planned({**settings, **combination}), axes)
    return found.by_need() if isinstance(number, int) and len(axes) == 1 else found


def planner_of(
    subject: "Subject",
    workload: Any = None,
    device: str | None = None,
    optimizer: Any = None,
) -> "Callable[[dict[str, Any]], MemoryPlan]":
    """Return what plans a subject for settings."""
    named: dict[str, Any] = {}
    if isinstance(optimizer, str):
        named, optimizer = {"optimizer": optimizer}, None

    def plan_for(settings: dict[str, Any]) -> "MemoryPlan":
        from explorer.sizing.plan import plan_of  # many explanations plan nothing
        from explorer.sizing.workloads import settings_of

        settings = named | settings
        where = settings.get("device", device)
        rest = {name: value for name, value in settings.items() if name != "device"}
        return plan_of(subject, *settings_of(workload, rest), where, optimizer)

    return plan_for


def subject_of(target: Any, inputs: tuple[Any, ...]) -> "Subject":
    """Return what is sized: also a checkpoint whose config is of no family that is known."""
    from explorer.architectures.families import SUPPORTED
    from explorer.sizing.subject import Subject

    found = resolve(target, *inputs)
    inventory, config = inventory_of(found), config_beside(found)
    is_known = config is None or config.get("model_type") in SUPPORTED
    architecture = known_architecture_of(found) if is_known else None
    return Subject(inventory.target, inventory, architecture, config)
