"""A target -> the same model with fewer units, or what that would be, from its architecture."""

from typing import TYPE_CHECKING, Any

from explorer.errors import TargetError
from explorer.targets.inventories import known_architecture_of
from explorer.targets.records import ArchitectureTarget, Checkpoint, Target
from explorer.transforms.pruning.patterns import PruneSettings
from explorer.transforms.records import Change

if TYPE_CHECKING:
    from explorer.architectures.architecture import Architecture

__all__ = ["planned_shrinking", "shrink_checkpoint", "shrinks"]

_ALWAYS = ("heads", "layers", "experts")


def shrinks(target: Target, settings: PruneSettings) -> bool:
    """Return whether a pattern removes units of a target, rather than set entries to zero."""
    if settings.pattern.kind in _ALWAYS:
        return True
    if settings.pattern.kind not in ("rows", "columns"):
        return False
    return (
        isinstance(target, Checkpoint | ArchitectureTarget) and _known(target) is not None
    )


def _known(target: Target) -> "Architecture | None":
    """Return the architecture of a target; a GGUF file's is in its metadata."""
    found = known_architecture_of(target)
    if found is None and isinstance(target, Checkpoint) and target.path.endswith(".gguf"):
        from explorer.architectures.families import architecture_of
        from explorer.pretrained.loading import config_of

        return architecture_of(config_of(target.path))
    return found


def shrink_checkpoint(
    target: Target, name: str, settings: PruneSettings, data: Any, evaluate: Any = None
) -> tuple[Any, Change]:
    """Return a checkpoint's tensors without a share of its units, and what changed.

    Raises:
        InputError: as `shrink`; also a target that is not a checkpoint of a known model.
    """
    from msgspec.structs import replace

    if not isinstance(target, Checkpoint):
        raise TargetError(
            name,
            found=f"{settings.pattern.text} of a tree changes the shapes of its module",
            expected="a checkpoint with its config",
            cure="shrink(model, params, pattern) returns both",
        )
    from explorer.pretrained.loading import config_of, load_pretrained
    from explorer.pretrained.saving import to_checkpoint
    from explorer.transforms.pruning.structure.shrink import shrink
    from explorer.tree.nest import nest

    config = config_of(target.path)
    model, params = load_pretrained(target.path)
    pattern, by, _, seed = settings
    found = shrink(model, params, pattern.text, by, data=data, config=config, seed=seed)
    assert found.config is not None
    tensors = to_checkpoint(found.params, found.config)
    change = replace(found.change, target=name, config=found.config)
    return nest({tuple(key.split(".")): each for key, each in tensors.items()}), change


def planned_shrinking(target: Target, name: str, settings: PruneSettings) -> Change:
    """Return what is left of a model without a share of its units, from its architecture.

    Raises:
        InputError: as `shrunk`; also a target that has no architecture.
    """
    from explorer.transforms.pruning.structure.planning import planned_units

    architecture = _known(target)
    if architecture is None:
        raise TargetError(
            name,
            found="does not describe an architecture",
            expected="a name, a config, or a checkpoint with its config",
        )
    return planned_units(architecture, name, settings)
