"""Recipes: whole runs, each described by one frozen record of settings.

A recipe's module is imported when it is asked for: the names cost nothing.
"""

import difflib
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from explorer.errors import InputError, check_type, printable

if TYPE_CHECKING:
    from explorer.recipes.recipe import Settings

__all__ = ["RECIPES", "recipe_of", "settings_of"]

RECIPES = {
    "linear": "LinearRecipe",
    "digits": "Digits",
    "charlm": "CharLM",
    "lora": "LoraRecipe",
}


def recipe_of(name: str) -> "type[Settings]":
    """Return the record of a recipe's settings.

    Raises:
        InputError: there is no such recipe; the nearest is named.
    """
    if name not in RECIPES:
        raise InputError(
            name,
            found="no such recipe",
            expected=f"one of {', '.join(RECIPES)}",
            cure=_nearest(name, RECIPES),
        )
    module: Any = import_module(f"explorer.recipes.{name}")
    return getattr(module, RECIPES[name])


def settings_of(name: str, changes: Iterable[str] = ()) -> "Settings":
    """Return the settings of a recipe, with changes such as "steps=500".

    Raises:
        InputError: no such recipe, no such setting (the nearest is named), or a value of
            another type or out of range.

    >>> settings_of("linear", ["steps=500", "noise=0"]).steps
    500
    """
    check_type("recipe", name, str, "the name of a recipe")
    check_type("changes", changes, Iterable, 'texts such as "steps=500"')
    recipe, values = recipe_of(name), {}
    for change in changes:
        check_type("changes", change, str, 'texts such as "steps=500"')
        key, equals, value = change.partition("=")
        if not equals:
            raise InputError(f"--set {change}", found="no value", expected="KEY=VALUE")
        if key not in recipe.__struct_fields__:
            raise InputError(
                f"--set {change}",
                found=f"{name} has no setting {printable(key, 60)!r}",
                expected=f"one of {', '.join(recipe.__struct_fields__)}",
                cure=_nearest(key, recipe.__struct_fields__),
            )
        values[key] = value
    try:
        return msgspec.convert(values, recipe, strict=False)
    except msgspec.ValidationError as error:
        reason, _, key = str(error).rpartition(" - at `$.")
        key = key.rstrip("`")
        raise InputError(
            f"--set {key}={values[key]}",
            found=reason[0].lower() + reason[1:].replace("`", ""),
            cure=f"the default is {getattr(recipe(), key)}",
        ) from None


def _nearest(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word[:100], list(words), 1, 0.6)
    return f"did you mean {near[0]}?" if near else ""
