"""Codes whose scales are not beside them: named, instead of given out as weights."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from explorer.errors import FormatError, first_few, printable

__all__ = ["check_companions"]

_FLOAT8 = ("float8_e4m3fn", "float8_e5m2")
_SHOWN = 100


def check_companions(
    keys: Sequence[str],
    dtypes: Sequence[str],
    config: object,
    place: str,
    chosen: Collection[str],
) -> None:
    """Refuse codes of a known layout that nothing turns into weights.

    Args:
        keys, dtypes: of all tensors, as they are stored.
        config: the `quantization_config`, or None.
        place: what errors call the source.
        chosen: the keys that are asked for and are not decoded.

    Raises:
        FormatError: it names the first tensor, and what is missing or of another size.
    """
    there = set(keys)
    method = config.get("quant_method") if isinstance(config, Mapping) else None
    for key, dtype in zip(keys, dtypes, strict=True):
        if key not in chosen:
            continue
        needed = [*_companions(key, dtype, there, method)]
        lacking = [each for each in needed if each not in there]
        if needed and not lacking and key.endswith(".weight"):
            raise FormatError(
                place,
                found=f"{printable(key, _SHOWN)} holds codes ({dtype}), and "
                f"{printable(needed[0], _SHOWN)} does not fit them",
                expected="codes with all their scales beside them",
                cure="fetch or write the file again",
            )
        if lacking:
            raise FormatError(
                place,
                found=f"{printable(key, _SHOWN)} holds codes ({dtype}), and "
                f"{first_few([printable(each, _SHOWN) for each in lacking])} "
                f"{'is' if len(lacking) == 1 else 'are'} missing",
                expected="codes with all their scales beside them",
                cure="fetch all files again",
            )


def _companions(
    key: str, dtype: str, there: Collection[str], method: object
) -> Iterator[str]:
    """Yield the names of what a key's codes need, where its layout is known."""
    stem, _, last = key.rpartition(".")
    if last == "weight_packed":
        yield f"{stem}.weight_scale"
        if dtype == "int32":
            yield f"{stem}.weight_shape"
    elif last == "qweight" and dtype == "int32":
        yield from (f"{stem}.qzeros", f"{stem}.scales")
    elif last == "weight" and dtype == "uint8":
        parts = (f"{key}.absmax", f"{key}.quant_map")
        states = [each for each in there if each.startswith(f"{key}.quant_state.")]
        if method == "bitsandbytes" or states or any(each in there for each in parts):
            yield from parts
            yield from states or (f"{key}.quant_state.bitsandbytes__nf4",)
    elif last == "weight" and dtype == "int8":
        if method == "bitsandbytes" or f"{stem}.weight_format" in there:
            yield f"{stem}.SCB"
        elif method == "compressed-tensors":
            yield f"{stem}.weight_scale"
    elif last == "weight" and dtype in _FLOAT8 and method in ("compressed-tensors", "fp8"):
        scale = "weight_scale_inv" if method == "fp8" else "weight_scale"
        yield f"{stem}.{scale}"
