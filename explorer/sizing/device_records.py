"""The records of devices: what meshes of them would hold, what a compiler says of one."""

import msgspec

__all__ = ["CompiledMemory", "MeshFit"]


class MeshFit(msgspec.Struct, frozen=True, kw_only=True):
    """What one mesh of devices would hold.

    Attributes:
        mesh: sizes of its axes.
        devices: their product.
        per_device_bytes: on the fullest device; None where the mesh does not suit the model.
        fits: whether that is at most what a device offers; None without a device.
        note: why the mesh does not suit.
    """

    mesh: dict[str, int]
    devices: int
    per_device_bytes: int | None
    fits: bool | None = None
    note: str = ""


class CompiledMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a compiler says of the memory of one device, for one program.

    Attributes:
        program: what was compiled.
        compiler: which compiler, of which versions.
        platform: what it compiled for: "cpu", "v5e:4x4".
        devices: how many the program is for.
        arguments: bytes of all arguments; `parameters`, `optimizer` and `batch` are of them.
        outputs: bytes of all results; `aliased` of them take the place of arguments.
        temporaries: bytes that are needed in between.
        peak: the compiler's own peak, where that is one (TPU); None elsewhere.
        refused: why the compiler refused the program; empty where it did not.
        lowering_seconds, compiling_seconds: how long it took.
    """

    program: str
    compiler: str
    platform: str
    devices: int
    arguments: int = 0
    parameters: int = 0
    optimizer: int = 0
    batch: int = 0
    outputs: int = 0
    aliased: int = 0
    temporaries: int = 0
    peak: int | None = None
    refused: str = ""
    lowering_seconds: float = 0.0
    compiling_seconds: float = 0.0

    @property
    def bytes(self) -> int:
        """Bytes of one device: arguments, temporaries, and results that have no old place."""
        return self.arguments + self.temporaries + self.outputs - self.aliased
