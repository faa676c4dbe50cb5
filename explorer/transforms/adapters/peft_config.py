"""adapter_config.json of huggingface/peft: what of it decides the values. No JAX, no NumPy.

References:
    huggingface/peft 0.21, peft/tuners/lora/config.py and layer.py (2026).
"""

import os
from collections.abc import Mapping
from functools import cached_property
from math import isfinite
from typing import Any

import msgspec

from explorer.errors import FormatError, InputError, first_few, printable
from explorer.storage.documents import NOT_JSON, read_json, refuse_json
from explorer.storage.local import exists
from explorer.transforms.adapters.patterns import ModulePatterns

__all__ = ["CONFIG", "PeftConfig", "described_by", "is_peft_folder", "read_peft_config"]

CONFIG = "adapter_config.json"
_LARGEST = 1 << 24  # bytes of a config
_LARGEST_RANK = 1 << 20
_FOUND, _CURE = "is not as peft writes it", "save the adapter again"
# settings that change how A and B are used, in a way that is not read
_UNREAD = ("use_qalora", "use_bdlora", "lora_bias", "megatron_config", "arrow_config",
           "layer_replication", "velora_config", "monteclora_config", "trainable_token_indices",
           "target_parameters")  # fmt: skip


class PeftConfig(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The settings of a LoRA adapter as peft has them; what is not here has no effect on values.

    Attributes:
        r, lora_alpha: rank and alpha of modules that no pattern names.
        rank_pattern, alpha_pattern: those of the modules that a key of them ends.
        use_rslora: whether the scale is alpha / sqrt(r).
        use_dora: whether modules have magnitudes.
        fan_in_fan_out: whether weights are stored [inputs, outputs], as GPT-2's.
        target_modules: names or a regular expression.
        modules_to_save: what is trained whole.
    """

    r: int = 8
    lora_alpha: float = 8
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    bias: str = "none"
    lora_dropout: float = 0.0
    target_modules: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    layers_to_transform: list[int] | int | None = None
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}
    base_model_name_or_path: str | None = None
    task_type: str | None = None
    peft_type: str = "LORA"

    @property
    def variant(self) -> str:
        """The variant by explorer's name; with DoRA and rsLoRA both, "dora"."""
        return "dora" if self.use_dora else "rslora" if self.use_rslora else "lora"

    @cached_property
    def _ranks(self) -> ModulePatterns:
        return ModulePatterns.of(self.rank_pattern)

    @cached_property
    def _alphas(self) -> ModulePatterns:
        return ModulePatterns.of(self.alpha_pattern)

    def rank_of(self, module: str) -> int:
        """Return the rank of a module by its name."""
        return int(self._ranks.value(module, self.r))

    def alpha_of(self, module: str) -> float:
        """Return the alpha of a module by its name.

        >>> PeftConfig(lora_alpha=16, alpha_pattern={"q_proj": 4}).alpha_of("layers.0.q_proj")
        4
        """
        return self._alphas.value(module, self.lora_alpha)

    def scale_of(self, module: str, rank: int) -> float:
        """Return what B A of a module is multiplied by."""
        alpha = self.alpha_of(module)
        return alpha / rank**0.5 if self.use_rslora else alpha / rank


def is_peft_folder(path: str) -> bool:
    """Return whether a folder holds adapters as peft writes them."""
    return os.path.isdir(path) and exists(os.path.join(path, CONFIG))


def read_peft_config(folder: str) -> PeftConfig:
    """Return the settings of a folder of adapters.

    Raises:
        InputError: no such folder or file, adapters of another kind than LoRA, or a setting
            that changes the values and is not read.
        FormatError: the file is not as peft writes it.
    """
    if not is_peft_folder(folder):
        raise InputError(
            folder, found=f"has no {CONFIG}", expected="a folder of adapters, as peft's"
        )
    place, content = _content(folder)
    _check(place, content)
    return _converted(place, content)


def described_by(folder: str) -> tuple[str, PeftConfig]:
    """Return the kind of a folder's adapters, "LORA" or another, and what is known of them.

    Raises:
        FormatError: the file is not as peft writes it.
    """
    place, content = _content(folder)
    kind = str(content.get("peft_type"))
    return kind, _converted(place, content) if kind == "LORA" else PeftConfig()


def _content(folder: str) -> tuple[str, dict[str, Any]]:
    place = os.path.join(folder, CONFIG)
    return place, read_json(place, _LARGEST, dict[str, Any], found=_FOUND, cure=_CURE)


def _converted(place: str, content: Mapping[str, Any]) -> PeftConfig:
    known = {
        k: v
        for k, v in content.items()
        if v is not None and k in PeftConfig.__struct_fields__
    }
    try:
        config = msgspec.convert(known, PeftConfig)
    except (msgspec.ValidationError, *NOT_JSON) as error:
        refuse_json(place, error, found=_FOUND, cure=_CURE)
    _check_numbers(place, config)
    return config


def _check_numbers(place: str, config: PeftConfig) -> None:
    ranks = {"r": config.r, **config.rank_pattern}
    alphas = {"lora_alpha": config.lora_alpha, **config.alpha_pattern}
    wrong = [(name, rank) for name, rank in ranks.items() if not 0 < rank <= _LARGEST_RANK]
    wrong += [(name, alpha) for name, alpha in alphas.items() if not isfinite(alpha)]
    for name, number in wrong[:1]:
        raise FormatError(
            place,
            found=f"{printable(name, 60)} is {printable(number, 40)}",
            expected=f"a rank from 1 to {_LARGEST_RANK:,}, and a finite alpha",
        )


def _check(place: str, content: Mapping[str, Any]) -> None:
    kind = content.get("peft_type")
    if kind != "LORA":
        raise InputError(
            place, found=f"adapters of the kind {printable(kind, 40)}", expected="LORA"
        )
    used = [name for name in _UNREAD if content.get(name)]
    if used:
        raise InputError(
            place, found=f"sets {first_few(used)}, which explorer does not apply",
            cure="merge it with peft",
        )  # fmt: skip
