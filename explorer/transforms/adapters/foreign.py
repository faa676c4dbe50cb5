"""The kernels of a tree of any framework that targets name."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from explorer.arguments import check_kinds
from explorer.errors import InputError, first_few, printable, shown
from explorer.paths import matches
from explorer.roles.names import classify
from explorer.sizing.training.lora import GROUPS, WORDS
from explorer.transforms.adapters.kernels import Kernel, Site, axes_of
from explorer.transforms.adapters.trees import ParameterLeaves

__all__ = ["check_axes", "sites_in"]

Path = tuple[str, ...]


def sites_in(
    leaves: ParameterLeaves, targets: Iterable[str], axes: Mapping[str, str] | None = None
) -> list[Site]:
    """Return the kernels of a tree that targets name, one adapter each.

    Args:
        leaves: of the tree.
        targets: names of modules, explorer's words and groups as of `adapted_matrices`, or
            globs of paths.
        axes: globs and what the axes of their kernels are; see `Kernel`.

    Raises:
        InputError: a target names no kernel, or one whose axes its name does not tell.

    >>> import jax.numpy as jnp
    >>> tree = {"Dense_0": {"kernel": jnp.ones((8, 4)), "bias": jnp.ones(4)}}
    >>> sites_in(ParameterLeaves(tree), ("Dense_*/kernel",))[0].kernels[0].axes
    'io'
    """
    check_axes(axes)
    given = tuple((axes or {}).items())
    shapes = {path: tuple(leaf.shape) for path, leaf in leaves.items()}
    chosen: dict[Path, None] = {}
    for target in targets:
        fitting = [path for path in shapes if "/".join(path) == target]
        fitting = fitting or [p for p in shapes if _fits(p, shapes[p], target, given)]
        linear = [p for p in fitting if axes_of(p, shapes[p], given) is not None]
        is_some = any(letter in target for letter in "*?[") and bool(linear)
        others = [p for p in fitting if p not in linear]
        if is_some and all(_is_convolution(p, shapes[p]) for p in others):
            fitting = linear  # a glob over layers of both kinds
        elif not fitting or (
            not linear and any(_is_convolution(p, shapes[p]) for p in fitting)
        ):
            raise _unknown(target, shapes, given)
        chosen |= dict.fromkeys(fitting)
    return [_site(path, shapes[path], given) for path in chosen]


def check_axes(axes: object) -> None:
    """Refuse what does not say of globs what the axes of their kernels are."""
    check_kinds(("axes", axes, "a dict or None"))
    for glob, letters in axes.items() if isinstance(axes, Mapping) else ():
        if not isinstance(letters, str):
            raise InputError(
                "axes", found=f"{shown(letters, 40)} for {shown(glob, 40)}", expected='"io"'
            )


def _site(path: Path, shape: tuple[int, ...], given: Iterable[tuple[str, str]]) -> Site:
    axes = axes_of(path, shape, given)
    if axes is None:
        raise InputError(
            "/".join(path),
            found=f"an array of shape {list(shape)}, whose axes its name does not tell",
            expected="a kernel of a linear layer",
            cure=f'pass axes={{"{"/".join(path)}": "bio"}}: a letter an axis, "i" inputs, '
            '"o" outputs, "b" stacked matrices',
        )
    stored = () if "b" in axes else (".".join(path[:-1]),)
    return Site(path, (Kernel(path, shape, axes),), 1, stored)


def _fits(path: Path, shape: tuple[int, ...], target: str, given: Any) -> bool:
    if any(letter in target for letter in "*?[/"):
        return len(shape) > 1 and matches(path, target)
    if axes_of(path, shape, given) is None:
        return False
    role, component = classify(path, shape)
    if target in GROUPS:
        inside = component in ("attention", "mlp", "experts") or component == "other"
        if target in ("all", "all-linear"):
            return (
                role == "kernel"
                and component not in ("embedding", "head", "router")
                and inside
            )
        wanted = ("attention",) if target == "attention" else ("mlp", "experts")
        return role == "kernel" and component in wanted
    dotted = ".".join(path[:-1] or path)
    return (
        target == dotted
        or dotted.endswith(f".{target}")
        or dotted.rpartition(".")[2] in WORDS.get(target, (target,))
    )


def _is_called(path: Path, target: str) -> bool:
    dotted = ".".join(path[:-1] or path)
    return target == dotted or dotted.endswith(f".{target}") or matches(path, target)


def _is_convolution(path: Path, shape: tuple[int, ...]) -> bool:
    """Return whether an array is a kernel of several taps: [taps ..., in, out], or PyTorch's."""
    return path[-1] in ("kernel", "weight") and len(shape) > 2


def _unknown(target: str, shapes: Mapping[Path, Any], given: Any) -> InputError:
    known = {
        ".".join(path[:-1] or path).rpartition(".")[2]
        for path, shape in shapes.items()
        if axes_of(path, shape, given) is not None
    }
    dotted = [path for path in shapes if _is_called(path, target)]
    if any(_is_convolution(path, shapes[path]) for path in dotted):
        return InputError(
            "targets",
            found=f"{printable(target, 40)!r} names a convolution, which is not adapted",
            expected=f"kernels of linear layers: {first_few(sorted(known))}"
            if known
            else "kernels of linear layers, of which there are none",
        )
    near = difflib.get_close_matches(target, [*known, *WORDS, *GROUPS], 1, 0.5)
    return InputError(
        "targets",
        found=f"no kernel is called {printable(target, 40)!r}",
        expected=f"of {first_few(sorted(known))}, a glob of paths, or attention, mlp, all"
        if known
        else "a kernel in these parameters",
        cure=f"did you mean {near[0]}?" if near else "",
    )
