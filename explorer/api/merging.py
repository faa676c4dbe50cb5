"""Several checkpoints -> one new file."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from explorer.errors import check_path
from explorer.targets import as_path, resolve

if TYPE_CHECKING:
    from explorer.transforms.records import Change

__all__ = ["merge_files"]


def merge_files(
    models: Sequence[str | os.PathLike],
    path: str | os.PathLike,
    method: str = "average",
    *,
    base: str | os.PathLike | None = None,
    weights: Sequence[float] | float | None = None,
    density: float = 0.5,
    scale: float = 1.0,
    seed: int = 0,
    dtype: str | None = None,
    progress: "tuple[Callable[[int], Any], Callable[[int], Any]] | None" = None,
) -> "Change":
    """Write the combination of several checkpoints, a tensor at a time.

    The numbers are those of `combine_models`.

    Args:
        models: checkpoints of one architecture, whose tensors have the same names.
        path: of the new file or folder.
        method, base, weights, density, scale, seed: as for `combine_models`.
        dtype, progress: as for `save`.

    Raises:
        InputError: as `combine_models` and `save`.
    """
    from explorer.conversion.merging import merge_to_file
    from explorer.conversion.settings import SaveSettings
    from explorer.dtypes import parse
    from explorer.transforms.combining.combine import mixing_of

    check_path("path", path)
    mixing = mixing_of(method, len(models), base, weights, density, scale, seed)
    total, done = progress or (None, None)
    wanted = None if dtype is None else parse("dtype", dtype).name
    return merge_to_file(
        [resolve(each) for each in models],
        None if base is None else resolve(base),
        mixing,
        os.fspath(path),
        SaveSettings(total=total, done=done, dtype=wanted),
        [as_path(each) for each in models],
    )
