"""The change from one model to another -> adapters, by singular values."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from explorer.architectures.architecture import Architecture
from explorer.arguments import check_kinds
from explorer.errors import InputError, TreeError, first_few
from explorer.transforms.adapters.adapter import Adapter
from explorer.transforms.adapters.changes import change_of_extracting
from explorer.transforms.adapters.foreign import check_axes, sites_in
from explorer.transforms.adapters.kernels import Site, axes_of
from explorer.transforms.adapters.sites import sites_of
from explorer.transforms.adapters.trees import ParameterLeaves, unpacked
from explorer.transforms.records import Change
from explorer.tree.nest import nest

__all__ = ["extract_lora"]

Path = tuple[str, ...]


def extract_lora(
    tuned: Any,
    base: Any,
    *,
    rank: int | None = None,
    energy: float | None = None,
    architecture: Architecture | None = None,
    axes: Mapping[str, str] | None = None,
) -> tuple[Any, Change]:
    """Return the adapters that turn a base model into a tuned one, or nearly, and what is left.

    The change of each kernel that changed is cut to its largest singular values: the nearest
    matrix of a rank (Eckart and Young, 1936). Changed parameters that are not kernels are
    named in the change's notes; no adapter can hold them.

    Args:
        tuned, base: parameters of one structure, of any framework.
        rank: of every adapter, or the most that `energy` may take.
        energy: the share of the squared singular values that each adapter keeps, by which
            each has a rank of its own; None with `rank` for all that the rank can hold.
        architecture, axes: as for `add_lora`.

    Returns:
        Adapters with a scale of 1; and the change from the base to what they give, whose
        errors are those that are left of the tuned model.

    Raises:
        TreeError: the parameters differ in structure or shape.
        InputError: neither a rank nor an energy, one out of range, or nothing changed.

    >>> base = {"dense": {"kernel": np.zeros((8, 6), "float32")}}
    >>> tuned = {"dense": {"kernel": np.outer(np.arange(8.0), np.ones(6)).astype("float32")}}
    >>> adapters, change = extract_lora(tuned, base, energy=0.999)
    >>> adapters["dense"]["kernel"].rank
    1
    """
    check_kinds(
        ("rank", rank, "a whole number or None"), ("energy", energy, "a number or None")
    )
    check_axes(axes)
    if rank is None and energy is None:
        raise InputError(
            "rank", found="neither a rank nor an energy", expected="one of both"
        )
    if energy is not None and not 0 < energy <= 1:
        raise InputError("energy", found=f"{energy!r}", expected="above 0, at most 1")
    after, before = ParameterLeaves(tuned), ParameterLeaves(base)
    _check_same(after, before)
    changed = {
        path
        for path, leaf in before.items()
        if not np.array_equal(_values(leaf), _values(after[path]))
    }
    if not changed:
        raise InputError("tuned", found="is the base", expected="parameters that differ")
    found: dict[Path, Adapter] = {}
    adapted: set[Path] = set()
    for site in _sites(before, changed, architecture, axes):
        if rank is not None:
            site.check_rank(rank)
        found[site.path] = _cut(site, after, before, rank, energy)
        adapted |= {kernel.path for kernel in site.kernels}
    adapters = nest(found)
    rest = sorted("/".join(path) for path in changed - adapted)
    notes = (f"changed and not adapted: {first_few(rest)}",) if rest else ()
    return adapters, change_of_extracting(before, after, adapters, notes)


def _sites(
    leaves: ParameterLeaves,
    changed: set[Path],
    architecture: Architecture | None,
    axes: Mapping[str, str] | None,
) -> list[Site]:
    """Return the kernels that changed, fused ones of an architecture together."""
    sites: list[Site] = []
    if architecture is not None:
        scan = any(path[0].startswith("stages_") for path in leaves.paths)
        every = sites_of(architecture, ("all",), scan)
        sites = [s for s in every if any(k.path in changed for k in s.kernels)]
    known = {kernel.path for site in sites for kernel in site.kernels}
    given = tuple((axes or {}).items())
    others = [
        "/".join(path)
        for path in leaves.paths
        if path in changed - known
        and axes_of(path, tuple(leaves[path].shape), given) is not None
    ]
    return sites + sites_in(leaves, others, axes) if others else sites


def _cut(
    site: Site,
    after: ParameterLeaves,
    before: ParameterLeaves,
    rank: int | None,
    energy: float | None,
) -> Adapter:
    """Return the adapter of a site with the largest singular values of its change."""
    columns = []
    for kernel in site.kernels:
        change = _values(after[kernel.path]).astype(np.float64) - _values(
            before[kernel.path]
        )
        _check_finite(kernel.path, change)
        matrices = kernel.matrices(change)
        columns.append(matrices.reshape(*matrices.shape[:-1], site.groups, -1))
    whole = np.concatenate(columns, -1).reshape(*site.batch, site.inputs, site.outputs)
    left, sizes, right = np.linalg.svd(whole, full_matrices=False)
    kept = _rank_of(sizes, rank, energy)
    roots = np.sqrt(sizes[..., :kept])
    a = left[..., :kept] * roots[..., None, :]
    b = roots[..., :, None] * right[..., :kept, :]
    a, b = (np.ascontiguousarray(side, np.float32) for side in (a, b))
    return Adapter(a, b, None, float(kept), "lora", site.kernels, site.groups)


def _check_finite(path: tuple[str, ...], change: np.ndarray) -> None:
    if not np.isfinite(change).all():
        index = np.unravel_index(int(np.isfinite(change).argmin()), change.shape)
        raise TreeError(
            "/".join(path),
            found=f"is not finite at {[int(i) for i in index]} in the base or the tuned model",
            expected="finite weights",
            cure="`explorer stats --check` lists what is not finite",
        )


def _rank_of(sizes: np.ndarray, rank: int | None, energy: float | None) -> int:
    """Return how many singular values are kept, of a batch as many as one of it needs."""
    most = sizes.shape[-1] if rank is None else rank
    if energy is None:
        return most
    squares = np.square(sizes).reshape(-1, sizes.shape[-1])
    shares = np.cumsum(squares, -1) / np.maximum(squares.sum(-1, keepdims=True), 1e-300)
    needed = (shares < energy * (1 - 1e-12)).sum(-1) + 1
    return max(1, min(most, int(needed.max())))


def _values(leaf: Any) -> np.ndarray:
    return np.asarray(unpacked(leaf))


def _check_same(after: ParameterLeaves, before: ParameterLeaves) -> None:
    if set(after.paths) != set(before.paths):
        odd = sorted("/".join(p) for p in set(after.paths) ^ set(before.paths))
        raise TreeError(
            "tuned",
            found=f"is another model than the base: only one has {first_few(odd)}",
            expected="parameters of one structure",
        )
    for path, leaf in before.items():
        if tuple(leaf.shape) != tuple(after[path].shape):
            raise TreeError(
                "/".join(path),
                found=f"has shape {list(after[path].shape)} in the tuned model and "
                f"{list(leaf.shape)} in the base",
                expected="one shape",
            )
