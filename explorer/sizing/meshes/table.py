"""Which mesh, of how many devices: a table over meshes, and the smallest slice that fits."""

from collections.abc import Callable, Iterator, Sequence

from explorer.errors import InputError
from explorer.sizing.device_records import MeshFit
from explorer.sizing.meshes.placed import check_axes, placed_parameters, share_of_fullest
from explorer.sizing.meshes.placement import Placement, mesh_text
from explorer.sizing.subject import Subject

__all__ = [
    "axes_for",
    "mesh_table",
    "meshes_of",
    "slice_advice",
    "slices_of",
    "smallest_slice",
    "suitable_meshes",
]

NeededOn = Callable[[Placement], int]
_MOST = 4096  # devices of the largest mesh that is looked for
_TPU_SLICES = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


def axes_for(train: bool, experts: int = 0) -> tuple[str, ...]:
    """Return the axes that are worth a size: for inference no "fsdp", which gathers weights.

    >>> axes_for(True), axes_for(False, experts=8)
    (('data', 'fsdp', 'tensor'), ('data', 'tensor', 'expert'))
    """
    axes = ("data", "fsdp", "tensor") if train else ("data", "tensor")
    return (*axes, "expert") if experts else axes


def meshes_of(devices: int, axes: Sequence[str]) -> Iterator[dict[str, int]]:
    """Yield every mesh of a number of devices, without axes of one device.

    >>> list(meshes_of(4, ("data", "tensor")))
    [{'tensor': 4}, {'data': 2, 'tensor': 2}, {'data': 4}]
    """
    if not axes:
        if devices == 1:
            yield {}
        return
    for size in range(1, devices + 1):
        if devices % size == 0:
            for rest in meshes_of(devices // size, axes[1:]):
                yield {axes[0]: size, **rest} if size > 1 else rest


def suitable_meshes(subject: Subject, devices: int, train: bool) -> list[dict[str, int]]:
    """Return the meshes of a number of devices whose every axis splits something.

    Those of which each device holds least of the parameters come first.

    Raises:
        InputError: fewer than one device, more than 4,096, or no mesh that suits.

    >>> from explorer.architectures.resolve import resolve, inventory_of
    >>> gpt2 = resolve("gpt2")
    >>> subject = Subject("gpt2", inventory_of(gpt2), gpt2.architecture)
    >>> suitable_meshes(subject, 4, train=False)
    [{'tensor': 4}, {'data': 2, 'tensor': 2}, {'data': 4}]
    """
    router = subject.architecture.router if subject.architecture else None
    axes = axes_for(train, router.experts if router else 0)

    def share(placement: Placement) -> int:
        check_axes(subject, placement)
        return int(share_of_fullest(placed_parameters(subject, placement)) * 10**12)

    rows = mesh_table(share, devices, axes)
    return [row.mesh for row in rows if row.per_device_bytes is not None]


def mesh_table(
    needed_on: NeededOn,
    devices: int,
    axes: Sequence[str],
    memory: int | None = None,
) -> tuple[MeshFit, ...]:
    """Return every mesh of a number of devices, that which needs least of each first.

    Args:
        needed_on: the bytes that a placement needs on its fullest device; an InputError says
            that the mesh does not suit the model.
        devices: how many.
        axes: of the meshes.
        memory: bytes that one device offers.

    Raises:
        InputError: fewer than one device, or more than 4,096.

    >>> table = mesh_table(lambda mesh: 80 // mesh.size("fsdp"), 4, ("data", "fsdp"), 32)
    >>> [(row.mesh, row.per_device_bytes, row.fits) for row in table]
    [({'fsdp': 4}, 20, True), ({'data': 2, 'fsdp': 2}, 40, False), ({'data': 4}, 80, False)]
    """
    if not 1 <= devices <= _MOST:
        raise InputError(
            "meshes", found=f"is {devices}", expected=f"1 to {_MOST:,} devices"
        )
    rows = [_row(needed_on, mesh, devices, memory) for mesh in meshes_of(devices, axes)]
    return tuple(sorted(rows, key=_need))


def _row(
    needed_on: NeededOn, mesh: dict[str, int], devices: int, memory: int | None
) -> MeshFit:
    try:
        needed = needed_on(Placement(mesh=mesh))
    except InputError as error:
        return MeshFit(mesh=mesh, devices=devices, per_device_bytes=None, note=error.found)
    fits = None if memory is None else needed <= memory
    return MeshFit(mesh=mesh, devices=devices, per_device_bytes=needed, fits=fits)


def _need(row: MeshFit) -> tuple[bool, int, int]:
    """Return what rows are sorted by: those of equal need by the traffic of their axes."""
    needed = row.per_device_bytes
    return needed is None, needed or 0, row.mesh.get("tensor", 1)


def slices_of(kind: str) -> tuple[int, ...]:
    """Return in which numbers devices of a kind come: "tpu" in slices, others in powers of 2.

    >>> slices_of("tpu")[:4], slices_of("gpu")[:4]
    ((1, 4, 8, 16), (1, 2, 4, 8))
    """
    return _TPU_SLICES if kind == "tpu" else tuple(2**n for n in range(13))


def slice_advice(
    needed_on: NeededOn, device: str, memory: int, train: bool, at_least: int = 1
) -> str | None:
    """Return the option that names the smallest slice of a kind of device that suffices.

    All of its devices are one axis: "fsdp" for training, "tensor" for inference.

    Args:
        needed_on: as of `mesh_table`.
        device: its name.
        memory: bytes that one offers.
        train: whether the plan is for training.
        at_least: bytes that are needed of all devices together.

    >>> slice_advice(lambda mesh: 80 // mesh.devices, "tpu-v5e", 16, train=True, at_least=80)
    '--device tpu-v5e:8 (mesh fsdp=8) needs 10 bytes of each'
    """
    kind = "tpu" if device.startswith("tpu") else "gpu"
    counts = [count for count in slices_of(kind) if count * memory >= at_least]
    axis = "fsdp" if train else "tensor"
    found = smallest_slice(needed_on, memory, (axis,), counts)
    if found is None:
        return None
    name = f"{device}:{found.devices}" if found.devices > 1 else device
    mesh = f" (mesh {mesh_text(found.mesh)})" if found.mesh else ""
    return f"--device {name}{mesh} needs {found.per_device_bytes:,} bytes of each"


def smallest_slice(
    needed_on: NeededOn,
    memory: int,
    axes: Sequence[str],
    counts: Sequence[int] = slices_of("gpu"),
) -> MeshFit | None:
    """Return the fewest devices that suffice, as the mesh that needs least of each.

    Args:
        needed_on: as of `mesh_table`.
        memory: bytes that one device offers.
        axes: of the meshes.
        counts: in which numbers devices come, ascending.

    Returns:
        The mesh, or None where no number suffices.

    >>> found = smallest_slice(lambda mesh: 80 // mesh.size("tensor"), 32, ("data", "tensor"))
    >>> found.devices, found.mesh
    (4, {'tensor': 4})
    """
    for count in counts:
        best = mesh_table(needed_on, count, axes, memory)[0]
        if best.fits:
            return best
    return None
