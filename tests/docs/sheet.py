"""Write the generated blocks of the pages: floors, the sheet of modules, lists: `make sheet`.

A block stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from explorer.architectures.families import SUPPORTED
from explorer.recipes import RECIPES
from tests.docs.pages import PAGES, ROOT
from tests.test_house import FLOORS, JAX_FREE

__all__ = ["GENERATED", "regenerated"]

PACKAGE = ROOT / "explorer"


def floors() -> str:
    """Return the floors of tests/test_house.py, the highest first."""
    rows = [f"| {level} | {names(rooms)} |" for level, rooms in enumerate(FLOORS, 1)]
    return "\n".join(["| floor | rooms |", "| --- | --- |", *rows])


def names(rooms: set[str]) -> str:
    return ", ".join(
        f"`{room}/`" if (PACKAGE / room).is_dir() else f"`{room}.py`"
        for room in sorted(rooms)
    )


def jax_free() -> str:
    """Return the rooms that tests/test_house.py holds free of array libraries."""
    return f"JAX-free: {names(JAX_FREE)}. So `explorer count FILE` loads no JAX."


def rooms() -> str:
    """Return the rooms and top-level files of the package, with the first sentence of each."""
    rows = []
    for place, _ in modules():
        if place.parent == PACKAGE and place.name != "__main__.py":
            home = place if place.suffix else place / "__init__.py"
            rows.append(
                f"| `{place.name}{'' if place.suffix else '/'}` | {sentence(home)} |"
            )
    return "\n".join(["| room | what it holds |", "| --- | --- |", *rows])


def sheet() -> str:
    """Return every module of the package: what it holds, its files and their lines."""
    rows, total = [], 0
    for place, files in modules():
        lines = {file: len(file.read_text("utf-8").splitlines()) for file in files}
        sizes = " · ".join(f"{file.stem} {lines[file]}" for file in files)
        home = files[0] if place.suffix else place / "__init__.py"
        count = sum(lines.values())
        total += count
        shown = f"{place.relative_to(ROOT)}{'' if place.suffix else '/'}"
        rows.append(f"| `{shown}` | {sentence(home)} | {sizes} | {count:,} |")
    head = [
        "| module | what it holds | files and their lines | lines |",
        "| --- | --- | --- | --: |",
    ]
    return "\n".join([*head, *rows, f"| total | | | {total:,} |"])


def modules() -> Iterator[tuple[Path, list[Path]]]:
    """Yield the top-level files, each alone, then the folders, each with its own files."""
    for file in sorted(PACKAGE.glob("*.py")):
        yield file, [file]
    for folder in sorted(path.parent for path in PACKAGE.rglob("__init__.py")):
        if folder != PACKAGE:
            yield folder, sorted(folder.glob("*.py"))


def sentence(file: Path) -> str:
    """Return the first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return text.partition("\n")[0].replace("|", "\\|")


def families() -> str:
    """Return how many families there are and their names."""
    return f"{len(SUPPORTED)} families: {', '.join(f'`{name}`' for name in SUPPORTED)}."


def recipes() -> str:
    """Return the recipes with the first sentence of each."""
    rows = [
        f"| `{name}` | {sentence(PACKAGE / 'recipes' / f'{name}.py').partition(': ')[2]} |"
        for name in RECIPES
    ]
    return "\n".join(["| recipe | what it trains |", "| --- | --- |", *rows])


GENERATED: dict[str, Callable[[], str]] = {
    "rooms": rooms,
    "floors": floors,
    "jax_free": jax_free,
    "sheet": sheet,
    "families": families,
    "recipes": recipes,
}


def regenerated(page: str) -> str:
    """Return a page with its generated blocks as they are today."""

    def block(found: re.Match[str]) -> str:
        name = found[1]
        return (
            f"<!-- generated: {name} -->\n\n{GENERATED[name]()}\n\n<!-- end of {name} -->"
        )

    pattern = r"<!-- generated: (\w+) -->\n.*?<!-- end of \1 -->"
    return re.sub(pattern, block, page, flags=re.DOTALL)


def main() -> None:
    """Regenerate the blocks of every page."""
    for page in PAGES:
        text = page.read_text("utf-8")
        if (new := regenerated(text)) != text:
            page.write_text(new, "utf-8")
            sys.stdout.write(f"{page.name}: rewritten\n")


if __name__ == "__main__":
    main()
