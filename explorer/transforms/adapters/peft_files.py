"""Folders of adapters as peft has them: adapter_config.json and adapter_model.safetensors."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from explorer.errors import FormatError, InputError, first_few, printable
from explorer.formats.files import load_path
from explorer.storage.local import exists
from explorer.storage.writing import new_folder, publish
from explorer.transforms.adapters.patterns import check_patterns
from explorer.transforms.adapters.peft_config import CONFIG, PeftConfig, read_peft_config

if TYPE_CHECKING:
    import numpy as np

__all__ = ["StoredAdapter", "StoredAdapters", "read_peft", "write_folder"]

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_WORDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}


class StoredAdapter(NamedTuple):
    """What a file has for a module: A [rank, inputs], B [outputs, rank], magnitudes [outputs]."""

    a: "np.ndarray"
    b: "np.ndarray"
    magnitude: "np.ndarray | None"
    alpha: float
    scale: float

    @property
    def rank(self) -> int:
        """Rows of A."""
        return self.a.shape[0]


class StoredAdapters(NamedTuple):
    """Adapters of a folder or file by module, and tensors that are trained whole by name.

    `place` is where they are from; `names` says whose names they have: "hf" or "gguf".
    """

    place: str
    config: PeftConfig
    modules: dict[str, StoredAdapter]
    saved: "dict[str, np.ndarray]"
    names: str = "hf"

    @property
    def parameters(self) -> int:
        """The parameters that are trained."""
        arrays = [
            x for each in self.modules.values() for x in (each.a, each.b, each.magnitude)
        ]
        return sum(x.size for x in (*arrays, *self.saved.values()) if x is not None)


def read_peft(folder: str) -> StoredAdapters:
    """Return the adapters of a folder that peft wrote, or explorer.

    Raises:
        InputError: no such folder, or adapters that explorer does not read.
        FormatError: tensors that are not as peft writes them; the first is named.
    """
    config = read_peft_config(folder)
    found = [name for name in _WEIGHTS if exists(os.path.join(folder, name))]
    if not found:
        raise InputError(folder, found="has no weights", expected=" or ".join(_WEIGHTS))
    place = os.path.join(folder, found[0])
    parts: dict[str, dict[str, Any]] = {}
    saved: dict[str, Any] = {}
    for key, array in load_path(place, lambda key: True).items():
        name = (key if isinstance(key, str) else ".".join(key)).removeprefix(_PREFIX)
        module, what = _split(name)
        if what:
            parts.setdefault(module, {})[what] = array
        elif ".lora_" in name:
            raise InputError(
                place, found=f"{printable(name)}, which explorer does not apply",
                expected="adapters of linear layers",
            )  # fmt: skip
        else:
            saved[_plain(name)] = array
    check_patterns(
        os.path.join(folder, CONFIG),
        {"rank_pattern": config.rank_pattern, "alpha_pattern": config.alpha_pattern},
        parts,
    )
    modules = {
        module: _adapter(place, module, has, config) for module, has in parts.items()
    }
    for module in [name for name in modules if f"{name}.weight" in saved]:
        # peft writes the table of an adapted embedding beside its adapter
        name, each = f"{module}.weight", modules.pop(module)
        saved[name] = _with_table(place, module, saved[name], each)
    if not modules and not saved:
        raise FormatError(
            place, found="no adapter", expected="tensors called ...lora_A.weight"
        )
    return StoredAdapters(folder, config, modules, saved)


def _split(name: str) -> tuple[str, str]:
    """Return the module of a tensor and what it is of its adapter; "" where it is none."""
    endings = {
        ".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_magnitude_vector": "magnitude",
        ".lora_magnitude_vector.weight": "magnitude",
        # of a table [vocabulary, size]: A [rank, vocabulary] and B [size, rank]
        ".lora_embedding_A": "a", ".lora_embedding_B": "b",
    }  # fmt: skip
    for ending, what in endings.items():
        if name.endswith(ending):
            return name.removesuffix(ending), what
    return name, ""


def _with_table(place: str, module: str, table: Any, each: StoredAdapter) -> Any:
    """Return a table with the adapter that is stored beside it."""
    rows, size = each.a.shape[1], each.b.shape[0]
    if table.shape != (rows, size) or each.magnitude is not None:
        raise InputError(
            place, found=f"{printable(module)} has a table {list(table.shape)} beside its adapter",
            expected=f"[{rows}, {size}], without magnitudes",
        )  # fmt: skip
    return table + (each.scale * (each.b @ each.a).T).astype(table.dtype)


def _plain(name: str) -> str:
    """Return the name in the model of a tensor that is trained whole."""
    return name.replace(".modules_to_save.default.", ".").replace(".base_layer.", ".")


def _adapter(
    place: str, module: str, has: Mapping[str, Any], config: PeftConfig
) -> StoredAdapter:
    a, b = has.get("a"), has.get("b")
    if a is None or b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in has.items())
        raise FormatError(
            place, found=f"{printable(module)} has {shapes}",
            expected="A [rank, inputs] and B [outputs, rank]",
        )  # fmt: skip
    if a.shape[0] != (rank := config.rank_of(module)):
        raise FormatError(
            place, found=f"{printable(module)} has rank {a.shape[0]}",
            expected=f"{rank}, as {CONFIG} says",
        )  # fmt: skip
    magnitude = has.get("magnitude")
    if magnitude is not None and magnitude.shape != b.shape[:1]:
        raise FormatError(
            place, found=f"{printable(module)} has magnitudes {list(magnitude.shape)}",
            expected=f"[{b.shape[0]}]",
        )  # fmt: skip
    scale = config.scale_of(module, a.shape[0])
    return StoredAdapter(a, b, magnitude, config.alpha_of(module), scale)


def write_folder(
    folder: str, config: Mapping[str, Any], tensors: "Mapping[str, np.ndarray]"
) -> None:
    """Write a folder of adapters, which is complete or not there.

    Args:
        folder: a new one.
        config: the content of adapter_config.json.
        tensors: by their names in the model, without peft's prefix.

    Raises:
        InputError: the folder exists or cannot be written.
    """
    encoded = _safetensors(folder, tensors)
    text = msgspec.json.format(msgspec.json.encode(config, order="sorted"), indent=2)
    try:
        with new_folder(folder) as unfinished:
            publish(os.path.join(unfinished, _WEIGHTS[0]), encoded)
            publish(os.path.join(unfinished, CONFIG), text + b"\n")
    except FileExistsError:
        raise InputError(
            folder, found="exists", expected="a new folder", cure="choose another name"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(folder, found=f"cannot be written: {reason}") from None


def _safetensors(place: str, tensors: "Mapping[str, np.ndarray]") -> bytes:
    """Return a safetensors file of arrays, under peft's names."""
    import numpy as np

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts, at = [], 0
    for name, array in sorted(tensors.items()):
        word = _WORDS.get(array.dtype.name)
        if word is None:
            raise InputError(
                place, found=f"{printable(name)} is {array.dtype.name}",
                expected=" or ".join(_WORDS),
            )  # fmt: skip
        raw = np.ascontiguousarray(array).tobytes()
        header[_PREFIX + name] = {
            "dtype": word,
            "shape": list(array.shape),
            "data_offsets": [at, at + len(raw)],
        }
        parts.append(raw)
        at += len(raw)
    encoded = msgspec.json.encode(header)
    encoded += b" " * (-len(encoded) % 8)
    return b"".join([len(encoded).to_bytes(8, "little"), encoded, *parts])


def not_in_model(place: str, names: list[str], model: str) -> InputError:
    """Return the error for adapters of another model; it names what the model lacks."""
    return InputError(
        place,
        found=f"are adapters of another model: {model} has no {first_few(map(printable, names))}",
        expected="modules of this model",
        cure="give the model that they were trained for",
    )
