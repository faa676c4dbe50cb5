"""What a reader returns: the columns of a header, before they are interpreted."""

import msgspec

from explorer.inventory.tensor import Role, Tie
from explorer.paths import Key

__all__ = ["Listing", "Sharding"]


class Sharding(msgspec.Struct, frozen=True):
    """How a tensor's axes are partitioned over devices, and the bytes on the fullest one."""

    axes: str
    device_nbytes: int | None = None


class Listing(msgspec.Struct):
    """The tensors that a source lists, as parallel columns in the source's order.

    Columns, because a checkpoint may list 10^5 tensors and most formats decode into
    columns faster than into records.

    Attributes:
        format: the kind of source ("safetensors", "gguf v3", "pytorch zip", ...).
        keys: each tensor's exact name: a dotted string, or a tuple of names in a tree.
        shapes: shapes as stored.
        dtypes: number formats by explorer's name (see explorer.dtypes).
        nbytes: bytes each tensor takes in the file.
        collections: the collection that the source itself gives for each tensor ("params",
            "opt_state", "batch_stats", ...); "" leaves it to names and formats. None
            when the source gives none.
        typed: whether those collections are types or declarations of the source, and not
            the names of the items that hold the tensors.
        ties: keys that the source shows to share one storage, the counted one first.
        shardings: of the tensors that have one.
        roles: what tensors do, where their use was traced; names decide for all others.
            None where nothing was traced.
        stacks: of tensors whose leading axes stack equal layers: how many, one per axis.
        remarks: notes that only the reader can make, complete sentences.
        file_bytes: size of the files on disk; None where there is no file.
        files: number of files.
        metadata: text that the file carries about itself; never trusted as a count.
    """

    format: str
    keys: list[Key]
    shapes: list[tuple[int, ...]]
    dtypes: list[str]
    nbytes: list[int]
    collections: list[str] | None = None
    typed: bool = False
    ties: list[Tie] = []
    shardings: dict[Key, Sharding] = {}
    stacks: dict[Key, tuple[int, ...]] = {}
    roles: dict[Key, Role] | None = None
    remarks: list[str] = []
    file_bytes: int | None = None
    files: int = 0
    metadata: dict[str, str] = {}
