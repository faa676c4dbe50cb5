"""What the shell completes: targets, by path or catalogued name, and settings of recipes."""

import click
from click.shell_completion import CompletionItem

__all__ = [
    "catalog_words",
    "complete_device",
    "complete_recipe",
    "complete_scheme",
    "complete_setting",
    "complete_target_or_word",
    "complete_word",
    "targets",
]


def targets(incomplete: str) -> list[CompletionItem]:
    """Return the catalogued names and ids that begin so, beside what the shell finds on disk."""
    from explorer.architectures.catalog.entries import entries, undisclosed
    from explorer.storage.local import LOCAL

    files = CompletionItem(incomplete, type="file")
    if not incomplete or incomplete[0] in "./~":
        return [files]
    models = (*entries(), *undisclosed())
    names = [name for model in models for name in model.names]
    names += [entry.id for entry in entries()]
    found = _beginning(names, incomplete)
    if found and "/" not in incomplete:  # bash lists files only where nothing else fits
        found += [name for name in LOCAL.names("") if name.startswith(incomplete)]
    return [files, *map(CompletionItem, found)]


def catalog_words(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of models, families and publishers that begin so, in any case."""
    from explorer.architectures.catalog.entries import entries, undisclosed

    names = [name for model in (*entries(), *undisclosed()) for name in model.names]
    names += [entry.config["model_type"] for entry in entries()]
    names += [entry.id.partition("/")[0] for entry in entries()]
    return _beginning(names, incomplete) if incomplete else []


def _beginning(names: list[str], incomplete: str) -> list[str]:
    """Return the distinct names that begin so; the shell writes them in their own case."""
    typed = incomplete.casefold()
    return [name for name in dict.fromkeys(names) if name.casefold().startswith(typed)]


def complete_recipe(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of recipes that begin so."""
    from explorer.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


def complete_device(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of devices that begin so, and "here"."""
    from explorer.sizing.devices.catalog import devices

    names = [name for device in devices() for name in (device.key, *device.aliases)]
    return _beginning([*names, "here"], incomplete)


def complete_scheme(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[str]:
    """Return the quantisation schemes that begin so."""
    from explorer.sizing.weights.gguf_blocks import MIXES
    from explorer.sizing.weights.schemes import NAMES

    return _beginning([*NAMES, *MIXES], incomplete)


def complete_word(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[str]:
    """Return the words that are explained and begin so."""
    from explorer.explaining.words import TOPICS

    return _beginning([topic.split()[-1] for topic in TOPICS], incomplete)


def complete_target_or_word(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return what a target is completed with, and before names the words that are explained."""
    first, *names = targets(incomplete)  # the shell forgets what stands before files
    return [first, *map(CompletionItem, complete_word(ctx, option, incomplete)), *names]


def complete_setting(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[str]:
    """Return the settings of the recipe on the command line that begin so, as "steps="."""
    from explorer.recipes import RECIPES, recipe_of

    # while an option lacks its value, click leaves the arguments unread
    words = (ctx.params.get("recipe"), *ctx.args)
    recipe = next((word for word in words if word in RECIPES), None)
    names = recipe_of(recipe).__struct_fields__ if recipe else ()
    return [f"{name}=" for name in names if name.startswith(incomplete)]
