"""The numbers of a target: loaded, described, checked, compared, hashed."""

import os
from typing import TYPE_CHECKING, Any, Literal, get_args

from explorer.arguments import check_kinds
from explorer.errors import InputError, check_type, shown
from explorer.targets import as_path, resolve
from explorer.targets.records import Tree

if TYPE_CHECKING:
    from explorer.targets.pairs import Renamed
    from explorer.targets.values import Progress
    from explorer.values.describe import GroupBy
    from explorer.values.differences import Difference
    from explorer.values.digest import Algorithm, Digests
    from explorer.values.learned import Learned
    from explorer.values.records import Description, Spectrum, ValueCheck

__all__ = [
    "check_values",
    "describe",
    "diff",
    "digest",
    "learned",
    "load",
    "spectrum",
]


def load(path: str | os.PathLike, select: str | None = None) -> "dict[str, Any]":
    """Return the values of a checkpoint as a nested dict of NumPy arrays.

    Arrays map the file where its format allows, so that only what is used is read.
    GGUF's block formats are dequantised to float32, and so are the packed weights of
    bitsandbytes, compressed-tensors and other known layouts, without the scales beside them;
    packed weights of other layouts come as stored.

    Args:
        path: a file or folder that `explore` opens.
        select: a glob as of `Inventory.select`; None for all.

    Raises:
        InputError: as `explore`; also when nothing is selected, when a tensor's path runs
            through another tensor, or when the scales of a packed weight do not fit it.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/model.npz", bias=np.zeros(3), step=np.array(7))
    ...     load(f"{folder}/model.npz", select="bias")
    {'bias': array([0., 0., 0.])}
    """
    from explorer.packed.loading import load_dequantised

    return load_dequantised(as_path(path), select)


def describe(
    target: Any,
    select: str | None = None,
    statistics: Literal["all", "moments", "lines"] = "all",
    by: "GroupBy" = "name",
    *,
    resume: str | os.PathLike | None = None,
    progress: "Progress | None" = None,
) -> "Description":
    """Return what the numbers of a target look like, tensor by tensor and in all.

    One pass finds extremes, moments, zeros, NaN and infinities, quantiles and a histogram of
    magnitudes; sums are right to a millionth of themselves (`docs/values.md` says of which). Of
    a file no more is in memory than a few tensors; tied tensors are described once. Of arrays that are sharded over processes
    (`jax.distributed`) each process sums up its own shards, and all return the same.

    Args:
        target: a checkpoint, or a pytree or module that holds arrays, as for `explore`.
        select: a glob over paths as of `Inventory.select`; None for all.
        statistics: "moments" leaves quantiles and histograms empty, and takes half the time;
            "lines" finds zero, equal and outlying rows and columns too, in further passes.
        by: groups of "name" (names that differ in numbers alone), "component", "role", "dtype".
        resume: a file that keeps what was found of each tensor of a checkpoint, so that a pass
            that is killed goes on there.
        progress: called with the elements that were read, and those of all tensors.

    Raises:
        InputError: as `explore`; also an unknown word, a target without values, one that changed
            while it was read, nothing that matches, or a file that `resume` cannot go on with.

    >>> import numpy as np
    >>> found = describe({"kernel": np.array([[3.0, -4.0], [0.0, np.nan]], "float32")})
    >>> found.totals.l2, found.totals.zeros, found.tensors[0].statistics.first_nan
    (5.0, 1, 3)
    """
    from explorer.targets.resumed import resumed
    from explorer.targets.values import tied_notes, values_of
    from explorer.values.describe import GroupBy, describe_arrays
    from explorer.values.processes import with_other_processes

    _check_word("statistics", statistics, ("all", "moments", "lines"))
    _check_word("by", by, get_args(GroupBy))
    found, bins, lines = resolve(target), statistics != "moments", statistics == "lines"
    settings = {"select": select, "statistics": statistics}
    with resumed(resume, found, settings) as earlier:
        arrays = values_of(found, select, True, earlier.known, progress)
        if isinstance(found, Tree):
            arrays = with_other_processes(arrays, bins)
        name = _name_of_target(target)
        notes = tied_notes(found, select)
        return describe_arrays(name, arrays, bins, by, earlier.keep, notes, lines)


def check_values(
    target: Any, select: str | None = None, *, progress: "Progress | None" = None
) -> "ValueCheck":
    """Return what is wrong with the numbers of a target, and what is worth knowing of them.

    Wrong are NaN and infinities, kernels that are all zero or constant, kernels that are the
    same as another one though nothing ties them, and tensors that a model ties and a file stores
    with other numbers; each finding names the tensor and where.

    Args:
        target, select, progress: as for `describe`.

    Raises:
        InputError: as `describe`.

    >>> import numpy as np
    >>> found = check_values({"kernel": np.array([[1.0, np.inf]]), "bias": np.zeros(2)})
    >>> found.is_sound, [(each.tensor, each.kind) for each in found.findings]
    (False, [('kernel', 'inf'), ('bias', 'zero')])
    """
    from explorer.targets.values import values_of
    from explorer.values.checks import check_arrays

    arrays = values_of(resolve(target), select, progress=progress, tied_too=True)
    return check_arrays(_name_of_target(target), arrays)


def spectrum(
    target: Any,
    select: str | None = None,
    rank: int | None = None,
    *,
    progress: "Progress | None" = None,
) -> "Spectrum":
    """Return the spectral norm, the ranks and the tail exponent of each matrix of a target.

    A matrix whose smaller side is at most 2,048 is decomposed exactly; of a larger one the
    leading singular values are found by a randomised range finder, with a bound of their error.

    Args:
        target, select, progress: as for `describe`.
        rank: how many singular values are kept, and found of a large matrix; None for 64.

    Raises:
        InputError: as `describe`; also a rank below 1.

    >>> import numpy as np
    >>> found = spectrum({"kernel": np.diag([3.0, 3.0, 0.0])}).matrices[0]
    >>> found.spectral_norm, found.stable_rank, found.method
    (3.0, 2.0, 'exact')
    """
    from explorer.targets.values import values_of
    from explorer.values.spectrum import spectra_of

    check_kinds(("rank", rank, "a whole number or None"))
    if rank is not None and rank < 1:
        raise InputError("rank", found=f"{rank}", expected="a number of at least 1")
    arrays = values_of(resolve(target), select, progress=progress)
    return spectra_of(_name_of_target(target), arrays, rank)


def diff(
    a: Any,
    b: Any,
    match: "Renamed | None" = None,
    rtol: float = 0.0,
    atol: float = 0.0,
    *,
    progress: "Progress | None" = None,
) -> "Difference":
    """Return what changed from the values of one target to those of another.

    Tensors belong together by name; else by the names and layouts of the model that a config or
    a GGUF file describes (Hugging Face, GGUF, explorer's own, layers stacked or not); else by the
    ends of their names. The verdict on each is the first of these that holds:

    - identical: every bit.
    - rounding: one side is the other, rounded to its format or to bfloat16 or float16.
    - quantized: one side holds for each number of the other the nearest one that its blocks
      can: within half a step, unless it is beyond them.
    - permuted: the same rows, or columns, in another order.
    - low_rank: the change is of a rank much smaller than its sides, up to rounding.
    - different; missing: only in `a`; added: only in `b`.

    Args:
        a, b: checkpoints, or pytrees or modules that hold arrays, as for `explore`.
        match: which tensor of `b` one of `a` is: names by names, each a tensor's or that of all
            below it; or a function from names to names, or to None.
        rtol, atol: tolerance: a number is beyond it if |b - a| > atol + rtol |a|. With neither,
            numbers of one format are compared by their bits.
        progress: called with the elements of `a` that were compared, and those of all pairs.

    Raises:
        InputError: as `explore`; also a side without values, or one that changed while it was
            read.

    >>> import numpy as np
    >>> a = {"kernel": np.ones((2, 3), "float32"), "bias": np.zeros(3, "float32")}
    >>> b = {"kernel": a["kernel"].copy(), "bias": a["bias"]}
    >>> b["kernel"][1, 2] = 1.5
    >>> found = diff(a, b)
    >>> found.identical, [(each.name, each.verdict) for each in found.tensors]
    (False, [('kernel', 'different'), ('bias', 'identical')])
    >>> found.tensors[0].first_index, found.tensors[0].max_abs
    ((1, 2), 0.5)
    """
    from explorer.targets.comparing import difference_of_targets

    for place, value in (("rtol", rtol), ("atol", atol)):
        _check_tolerance(place, value)
    names = (_name_of_target(a), _name_of_target(b))
    return difference_of_targets(resolve(a), resolve(b), names, match, rtol, atol, progress)


def learned(before: Any, after: Any, select: str | None = None) -> "Learned":
    """Return where the parameters of a model changed in training, layer by layer.

    Args:
        before, after: one model's parameters, as trees, modules or checkpoints. A step that
            donates its state uses the memory of `before`: copy it first (`jax.device_get`).
        select: a glob over paths as of `Inventory.select`; None for all.

    Returns:
        A record whose `save` writes it, for `explorer.values.learned.read_learned`.

    Raises:
        InputError: as `describe`; also tensors that are on one side alone.

    >>> import numpy as np
    >>> found = learned({"kernel": np.ones((2, 2))}, {"kernel": np.full((2, 2), 1.5)})
    >>> found.total.change, found.total.rank
    (0.5, 1.0)
    """
    from explorer.targets.values import values_of
    from explorer.values.learning import learned_of

    sides = (values_of(resolve(side), select) for side in (before, after))
    return learned_of((_name_of_target(before), _name_of_target(after)), *sides)


def digest(
    target: Any,
    select: str | None = None,
    algorithm: "Algorithm" = "xxh3_128",
    *,
    progress: "Progress | None" = None,
) -> "Digests":
    """Return a hash of each tensor's content, which no format, order or sharding changes.

    Hashed are dtype, shape and the elements in row-major order, lowest byte first; of
    quantised blocks of GGUF, the blocks as stored. Printed, it is one line for each tensor.

    Args:
        target: a checkpoint, or a pytree or module that holds arrays, as for `explore`.
        select: a glob over paths as of `Inventory.select`; None for all.
        algorithm: "xxh3_128" finds every accidental change, at the speed of memory; "blake2b"
            is cryptographic: nobody can make other content of the same hash.
        progress: as for `describe`.

    Raises:
        InputError: as `diff`; also no such hash, or nothing that matches.

    >>> import numpy as np
    >>> print(digest({"bias": np.zeros(3, "float32")}))
    bf808b8f74547d8afb253cacd4709152  float32  3  bias
    """
    from explorer.targets.comparing import digests_of_target

    name = _name_of_target(target)
    return digests_of_target(resolve(target), name, select, algorithm, progress)


def _check_word(place: str, word: object, known: tuple[str, ...]) -> None:
    if not isinstance(word, str) or word not in known:
        found = shown(word, 60)
        raise InputError(place, found=found, expected=" or ".join(known))


def _check_tolerance(place: str, value: Any) -> None:
    check_type(place, value, (int, float), "a number")
    if not 0 <= value < float("inf"):
        raise InputError(place, found=f"is {value}", expected="0 or more")


def _name_of_target(target: Any) -> str:
    return (
        os.fspath(target)
        if isinstance(target, str | os.PathLike)
        else type(target).__name__
    )
