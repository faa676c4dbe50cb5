"""Finding catalogued models by the words people type: families, publishers, sizes, names."""

import re
from functools import cache

from explorer.architectures.catalog.entries import (
    CatalogEntry,
    UndisclosedModel,
    entries,
    undisclosed,
)

__all__ = ["search", "similar", "what_it_has"]

Model = CatalogEntry | UndisclosedModel

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([mbt])")
_UNITS = {"m": 10**6, "b": 10**9, "t": 10**12}
_NEAR = 0.04  # of a size that a model is called by
_LONGEST = 100
_SHOWN = 5  # names in an error
_ENDING = re.compile(r"\.[a-z]{2,}$")  # of a file
# of a word's letters and numbers: llama3 is "llama" and "3", 8x7b one word
_PARTS = re.compile(r"\d[\d.]*[a-z0-9.]*|[^\d]+")
# what fine-tuned and converted copies add to a name: their architecture is the same
_VARIANTS = frozenset(
    ("instruct", "chat", "it", "hf", "pt", "base", "gguf", "awq", "gptq", "mlx", "fp", "bf")
)


class _Words:
    """What a model can be found by."""

    def __init__(self, model: Model):
        names = list(model.names)
        self.sizes: tuple[str, ...] = ()
        self.parameters = 0
        if isinstance(model, CatalogEntry):
            names += [model.id, model.config["model_type"]]
            self.sizes = (model.advertised.lower(),)
            self.parameters = model.parameters
        else:
            names.append(model.publisher)
        self.names = [name.lower() for name in names]
        self.parts = {part for name in names for part in _parts(name)}

    def begins(self, word: str) -> bool:
        """Return whether a word of it begins with this one, or it is of this size."""
        is_size = _SIZE.fullmatch(word) is not None
        return is_size or any(part.startswith(word) for part in self.parts)

    def has(self, word: str) -> bool:
        if size := _SIZE.fullmatch(word):
            wanted = float(size[1]) * _UNITS[size[2]]
            near = abs(self.parameters - wanted) <= _NEAR * wanted
            return near or word in self.parts or word in self.sizes
        if word[0].isdigit():  # "3" is every 3.x
            versions = (part for part in self.parts if not _SIZE.fullmatch(part))
            return any(part == word or part.startswith(f"{word}.") for part in versions)
        if len(word) == 1:
            return word in self.parts
        # "bert" is in distilbert, but "cased" is not uncased
        return any(word in name.replace(f"un{word}", "") for name in self.names)


def search(*words: str) -> list[Model]:
    """Return the models that fit every word, in the catalogue's order.

    Words such as "Instruct" are left out where no model fits them.

    Args:
        words: in any case and spelling: of a name, a publisher or a family, a version, or a
            size such as "8B".

    >>> [model.names[0] for model in search("llama-3", "8b")]
    ['llama-3.1-8b']
    >>> [model.names[0] for model in search("Qwen", "72B")]
    ['qwen2.5-72b']
    """
    wanted = [part for word in words for part in _parts(word)]
    return _fitting(wanted) or _fitting([part for part in wanted if part not in _VARIANTS])


def similar(name: str) -> list[Model]:
    """Return models that a name which is not catalogued may be one of; [] where none is near.

    The name's first word must fit; then as many of its other words as any model fits.

    >>> [model.names[0] for model in similar("Qwen/Qwen2.5-7B-Instruct")]
    ['qwen2.5-7b']
    >>> similar("t5-small"), similar("./model.safetensors")
    ([], [])
    """
    is_path = name.count("/") > 1 or name.startswith(("/", ".")) or _ENDING.search(name)
    if len(name) > _LONGEST or is_path:
        return []
    parts = [each for each in _parts(name.rpartition("/")[2]) if each not in _VARIANTS]
    if not parts or len(parts[0]) == 1:
        return []
    first, *others = parts
    found = [model for model in search(first) if _words_of(model).begins(first)]
    for word in sorted(others, key=_weight):
        found = [model for model in found if _words_of(model).has(word)] or found
    begins = [model for model in found if model.names[0].startswith(first)]
    return begins or found


def _fitting(words: list[str]) -> list[Model]:
    models = zip(_models(), _words(), strict=True)
    return [model for model, found in models if all(map(found.has, words))]


def what_it_has(name: str) -> str:
    """Return which catalogued models a name may be one of, as a sentence; "" for none.

    >>> what_it_has("mistral")
    'the catalogue has mistral-7b, mistral-nemo-12b'
    """
    found = [model.names[0] for model in similar(name)]
    more = f" and {len(found) - _SHOWN} more (explorer catalog)" if found[_SHOWN:] else ""
    return f"the catalogue has {', '.join(found[:_SHOWN])}{more}" if found else ""


def _weight(word: str) -> int:
    """Return the rank of a word: sizes decide before versions, versions before the rest."""
    return 0 if _SIZE.fullmatch(word) else 1 if word[0].isdigit() else 2


def _parts(name: str) -> list[str]:
    """Return a name's words: letters and numbers separately, "v3" as "3".

    >>> _parts("Qwen/Qwen2.5-7B_v3")
    ['qwen', 'qwen', '2.5', '7b', '3']
    """
    chunks = re.split(r"[-_/#:\s]+", name.lower())
    parts = [part for chunk in chunks for part in _PARTS.findall(chunk)]
    return [part for part in (each.strip(".") for each in parts) if part and part != "v"]


@cache
def _models() -> tuple[Model, ...]:
    return (*entries(), *undisclosed())


@cache
def _words() -> tuple[_Words, ...]:
    return tuple(map(_Words, _models()))


def _words_of(model: Model) -> _Words:
    return _words()[_models().index(model)]
