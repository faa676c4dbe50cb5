"""Role and component of a tensor from its name and shape, whatever library named it.

A *leaf* is the last name of a path, its *owner* the module that holds it. The exact name of
the leaf decides the role: `relative_bias_table/kernel` is a kernel, `query/bias` is a bias of
any rank. Modules decide the component, the innermost first: a norm inside attention is a norm,
an MLP inside an expert belongs to the experts.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, cast

from explorer.inventory.tensor import Component, Role
from explorer.paths import unboxed
from explorer.roles import spellings
from explorer.roles.spellings import Tag

__all__ = ["classify", "component_of_module", "decide", "names_tell", "split_names"]

_role_of_leaf: dict[str, Role] = {
    name: role for role, names in spellings.LEAVES.items() for name in names.split()
}
_IGNORED = spellings.WRAPPERS | {""}


def _by_name(table: dict[Tag, str]) -> dict[str, Tag]:
    return {name: tag for tag, names in table.items() for name in names.split()}


_tag_of_name, _tag_of_weak = _by_name(spellings.MODULES), _by_name(spellings.WEAK)
_tag_of_word: tuple[tuple[Tag, frozenset[str], tuple[str, ...]], ...] = tuple(
    (
        tag,
        frozenset(word for word in words.split() if word[0] != "*"),
        tuple(word[1:] for word in words.split() if word[0] == "*"),
    )
    for tag, words in spellings.WORDS
)

_place_of_word = {
    word: place
    for place, (_, known, _) in reversed([*enumerate(_tag_of_word)])
    for word in known
}
_ANY_ENDING = tuple(end for _, _, endings in _tag_of_word for end in endings)
_GREEK = frozenset(["alpha", "beta", "gamma", "delta", "lambda", "mu", "sigma", "theta"])
_ENDINGS = ("weight", "weights", "bias", "scale", "embedding", "lora_a", "lora_b")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class _Name(NamedTuple):
    """A name in snake case without "_0", its words without digits, and its tag."""

    text: str
    words: frozenset[str]
    tag: Tag | None


@lru_cache(maxsize=8192)
def _read(name: str) -> _Name:
    parts = [p for p in _CAMEL.sub("_", name).lower().split("_") if p and not p.isdigit()]
    text = "_".join(parts)
    words = frozenset(stem for part in parts if (stem := part.rstrip("0123456789")))
    return _Name(text, words, _tag_of_name.get(text) or _tag_by_word(words))


def _tag_by_word(words: frozenset[str]) -> Tag | None:
    """Return the first tag of the table that a word has, whole or in its ending."""
    places = [_place_of_word[word] for word in words if word in _place_of_word]
    for word in words:
        if word.endswith(_ANY_ENDING):
            places += [
                n for n, (*_, ends) in enumerate(_tag_of_word) if word.endswith(ends)
            ]
    return _tag_of_word[min(places)][0] if places else None


def split_names(path: tuple[str, ...]) -> list[str]:
    """Return the names of a path, without what a library adds to them.

    Haiku joins modules by "/", flat dictionaries hold dotted keys, TensorFlow appends
    ":0", NNX and boxed leaves end in "value".

    >>> split_names(("mlp/~/linear_0", "w")), split_names(("Dense_0", "kernel", "value"))
    (['mlp', 'linear_0', 'w'], ['Dense_0', 'kernel'])
    """
    joined = "/".join(path).replace(".", "/").removesuffix(":0")
    names = tuple(name for name in joined.split("/") if name not in ("", "~"))
    return list(unboxed(names))


def component_of_module(name: str) -> Tag | None:
    """Return the component that follows from a module's name alone, or None.

    >>> component_of_module("EncDecAttention"), component_of_module("Dense_0")
    ('attention', None)
    """
    return _read(name).tag


def classify(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[Role, Component]:
    """Return the role of a parameter and the component of the network it belongs to.

    Args:
        path: names from the root; numbers in them are ignored.
        shape: logical shape.

    >>> classify(("encoder", "layer", "0", "attention", "self", "query", "bias"), (768,))
    ('bias', 'attention')
    >>> classify(("model", "layers", "3", "mlp", "gate", "weight"), (128, 2048))
    ('kernel', 'router')
    """
    names = split_names(path)
    if not names:
        return ("kernel" if len(shape) > 1 else "other"), "other"
    modules = _modules_of(names)
    leaf, owner = names[-1], (modules[-1] if modules else _read(""))
    role = _role(leaf, names, owner, shape)
    return role, _component(leaf, modules, role, shape)


def names_tell(paths: Iterable[tuple[str, ...]]) -> bool:
    """Return whether any name is one that a library gives to what it makes.

    A letter alone, or a Greek one, may be anything, unless `w` stands beside `b`.

    >>> names_tell([("a",), ("b",), ("alpha",)]), names_tell([("w",), ("b",)])
    (False, True)
    >>> names_tell([("mlp", "a")]), names_tell([("scale",)])
    (True, True)
    """
    letters = set()
    for path in paths:
        *modules, leaf = split_names(path) or [""]
        if any(_read(name).tag or _read(name).text in _tag_of_weak for name in modules):
            return True
        name = _read(leaf)
        known = _role_of_leaf.get(leaf) or _role_of_leaf.get(leaf.rstrip("_0123456789"))
        if len(name.text) < 2 or name.text in _GREEK:
            letters.add(name.text)
        elif known or name.tag or name.text.endswith(_ENDINGS):
            return True
    return {"w", "b"} <= letters


def decide(used: Role, named: Role, shape: tuple[int, ...]) -> Role:
    """Return the role that counts, of a parameter whose use and name say different ones.

    Use decides. But whether a table that is added whole to raw data holds a row for each
    position, its use does not show: a name that says so does.

    >>> decide("bias", "embedding", (8, 4)), decide("bias", "scale", (4,))
    ('embedding', 'bias')
    """
    is_table = used == "bias" and named == "embedding" and sum(n > 1 for n in shape) > 1
    return named if is_table else used


def _modules_of(names: list[str]) -> list[_Name]:
    """Return the modules around a leaf, outermost first; known pairs decide their tags."""
    read = [name for name in map(_read, names[:-1]) if name.text not in _IGNORED]
    modules: list[_Name] = []
    parent = ""
    for name in read:
        tag = spellings.PAIRS.get((parent, name.text), name.tag)
        modules.append(name._replace(tag=tag) if tag != name.tag else name)
        if parent or name.text not in spellings.ROOTS:
            parent = name.text
    return modules


def _role(leaf: str, names: list[str], owner: _Name, shape: tuple[int, ...]) -> Role:
    stem = leaf.removesuffix("_orig").removesuffix("_reverse").rstrip("0123456789")
    stem = stem.rstrip("_") or leaf
    known = _role_of_leaf.get(leaf) or _role_of_leaf.get(stem)
    if known == "bias":
        return known
    adapter = {_read(name).text for name in names[-3:]}
    if not spellings.FACTORS.isdisjoint(adapter) or leaf.lower().endswith(
        ("_lora_a", "_lora_b")
    ):
        return "kernel"
    if "lora_magnitude_vector" in adapter or leaf == "original0":
        return "scale"  # weight normalisation stores scale and direction separately
    if known:
        return known
    if leaf.endswith("_bias"):
        return "bias"
    if leaf.endswith("_scale"):
        return "scale"
    if stem in ("weight", "w"):
        return _role_of_weight(stem, owner, shape)
    return _role_of_unknown(_read(leaf), shape)


def _role_of_weight(stem: str, owner: _Name, shape: tuple[int, ...]) -> Role:
    """Return the role of `weight`, a name that libraries give to everything that multiplies."""
    if _role_of_leaf.get(owner.text) == "other":
        return "other"
    if owner.tag == "router":
        return "kernel"  # a single output is stored as a vector
    if owner.tag == "norm" or (stem == "weight" and len(shape) < 2):
        return "scale"
    is_table = owner.tag == "embedding" and owner.words.isdisjoint(spellings.PROJECTIONS)
    if (
        len(shape) == 2
        and stem == "weight"
        and (is_table or owner.text in spellings.TABLES)
    ):
        return "embedding"
    return "kernel"


def _role_of_unknown(leaf: _Name, shape: tuple[int, ...]) -> Role:
    if leaf.tag == "norm":
        return "scale"
    if len(shape) > 1 and not leaf.words.isdisjoint(spellings.POSITIONS):
        return "kernel" if "bias" in leaf.words else "embedding"
    if leaf.tag == "embedding" and leaf.words.isdisjoint(spellings.PROJECTIONS):
        return "embedding"
    return "kernel" if len(shape) > 1 else "other"


def _component(
    leaf: str, modules: list[_Name], role: Role, shape: tuple[int, ...]
) -> Component:
    last = _read(leaf)
    if last.text in ("embedding", "embeddings"):
        last = last._replace(tag=None)  # a table's own name: its module decides
    if last.tag == "norm" or (modules and modules[-1].tag == "norm"):
        return "norm"
    tags: list[Tag | None] = [*(name.tag for name in modules), last.tag]
    if "router" in tags or _is_gate(leaf, modules, tags, shape):
        return "router"
    if "experts" in tags:
        return "experts"
    for tag in reversed(tags):
        if tag == "moe":
            # experts are one stacked array; everything else in the block is dense
            stacked = len(shape) > (1 if role == "bias" else 2)
            return "experts" if stacked else "mlp"
        if tag is not None and tag != "norm":
            return "mlp" if tag == "shared" else cast(Component, tag)
    for name in (last, *reversed(modules)):
        if name.text in _tag_of_weak:
            return cast(Component, _tag_of_weak[name.text])
    return "embedding" if role == "embedding" else "other"


def _is_gate(
    leaf: str, modules: list[_Name], tags: list[Tag | None], shape: tuple[int, ...]
) -> bool:
    """Return whether a layer called gate selects experts, and is not half of a gated MLP.

    There are fewer experts than hidden units, and an MLP has more units than its input.
    """
    if not modules or modules[-1].text != "gate":
        return False
    if not {"attention", "experts", "shared"}.isdisjoint(tags):
        return False
    if "moe" in tags:
        return True
    if len(shape) < 2:
        return False
    if leaf == "weight":
        return shape[-2] < shape[-1]
    return leaf in ("kernel", "w") and shape[-1] < max(shape[:-1])
