"""Who may import whom, what is public, and who opens files or prints."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import explorer as ex
from explorer import training

PACKAGE = Path(ex.__file__).parent
# top to bottom; an import goes down, or stays in its room
FLOORS = [
    {"__main__"},
    {"cli"},
    {"recipes", "testing"},
    {"api"},
    {"browsing", "conversion", "explaining", "generation"},
    {"targets"},
    {"pretrained", "views"},
    {"transforms"},
    {"sizing"},
    {"training", "values"},
    {"packed"},
    {"models", "objects", "formats"},
    {"architectures"},
    {"identify"},
    {"roles", "analyses"},
    {"document"},
    {"inventory", "tree", "storage"},
    {"dtypes", "paths"},
    {"arguments"},
    {"errors"},
]
# rooms whose modules, and all that they import, load without an array library
JAX_FREE = {
    "analyses", "api", "architectures", "arguments", "browsing", "cli", "conversion", "document", "dtypes", "errors", "explaining",
    "formats", "identify", "inventory", "paths", "sizing", "storage", "targets", "testing", "views",
}  # fmt: skip
ARRAY_LIBRARIES = {"jax", "jaxlib", "flax", "optax", "chex", "numpy", "ml_dtypes"}
FLOOR_OF = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py" or path.parent != PACKAGE
}


MODULE = re.compile(r"explorer(\.\w+)+")
# a record prints itself through its view, which it finds by name when it is printed
PRINTED_BY = {
    "inventory.shown": {"views.inventory"},
    "transforms.sensitivity": {"views.sensitivity"},
    "transforms.written": {"views.saved"},
    "document.exporting": {
        "explaining.document",
        "views.comparison",
        "views.diff",
        "views.learned",
        "views.ledger",
        "views.plan",
        "views.roles",
        "views.spectrum",
        "views.stats",
        "views.summary",
        "views.sweep",
        "views.change",
    },
}


def calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def imports_of(tree: ast.AST) -> set[str]:
    """Return every module that a file imports: inside functions too, and by a string that
    names it, in a file that calls `import_module`."""
    found: set[str] = set()
    by_name = any("import_module" in function for function in calls(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {
                str(node.module)
            }
        elif (
            isinstance(node, ast.Constant) and by_name and MODULE.fullmatch(str(node.value))
        ):
            found.add(str(node.value))
    return found


def own_imports(tree: ast.AST) -> set[str]:
    """Return the files of explorer that a file imports."""
    found: set[str] = set()
    for module in imports_of(tree):
        package, _, name = module.partition(".")
        if package == "explorer" and name:
            found |= {name, f"{name}.__init__"} & FILES.keys()
    # `from package import module` is about the module
    return {
        name
        for name in found
        if not name.endswith(".__init__")
        or not any(o.startswith(name.removesuffix("__init__")) for o in found - {name})
    }


IMPORTS = {
    name: own_imports(tree) - PRINTED_BY.get(name, set()) for name, tree in FILES.items()
}


def at_import(tree: ast.Module) -> ast.Module:
    """Return the imports that run when a module is imported."""
    found: list[ast.stmt] = []
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        ) and not _is_type_checking(node):
            todo += ast.iter_child_nodes(node)
    return ast.Module(found, [])


def loaded_with(name: str) -> set[str]:
    """Return the files that are loaded when one is imported, itself and packages included."""
    found: set[str] = set()
    todo = {name}
    while todo:
        found |= todo
        todo = {
            other
            for each in todo
            for other in (*LOADED[each], *packages_of(each))
            if other not in found
        }
    return found


def packages_of(name: str) -> list[str]:
    """Return the `__init__` of every package around a file."""
    parts = name.split(".")
    return [".".join((*parts[:n], "__init__")) for n in range(1, len(parts))]


def room(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down(name: str):
    for other in IMPORTS[name]:
        same_room = room(other) == room(name)
        assert same_room or FLOOR_OF[room(other)] > FLOOR_OF[room(name)], (
            f"{name} -> {other}"
        )


def test_no_circles_between_files():
    graph = {name: others - {name} for name, others in IMPORTS.items()}
    TopologicalSorter(graph).prepare()


FOLDERS = sorted(
    {package.removesuffix("__init__") for n in FILES for package in packages_of(n)}
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_circles_in_a_folder(folder: str):
    """The files of a folder and its sub-folders, each as one, import in one direction."""

    def part(name: str) -> str:
        return name.removeprefix(folder).split(".")[0]

    graph: dict[str, set[str]] = {}
    for name, others in IMPORTS.items():
        if name.startswith(folder) and part(name) != "__init__":
            inside = {part(other) for other in others if other.startswith(folder)}
            graph.setdefault(part(name), set()).update(inside - {part(name), "__init__"})
    TopologicalSorter(graph).prepare()


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


LOADED = {name: own_imports(at_import(tree)) for name, tree in FILES.items()}


@pytest.mark.parametrize("name", [name for name in FILES if room(name) in JAX_FREE])
def test_no_array_library_is_loaded_before_it_is_needed(name: str):
    for other in loaded_with(name):
        modules = {m.split(".")[0] for m in imports_of(at_import(FILES[other]))}
        assert not modules & ARRAY_LIBRARIES, f"{name} loads {other}"


def test_the_lowest_floors_need_the_standard_library_alone():
    for name, tree in FILES.items():
        if room(name) in ("errors", "dtypes", "paths"):
            third_party = {module.split(".")[0] for module in imports_of(tree)}
            assert third_party <= {*sys.stdlib_module_names, "explorer"}, name


def test_a_class_has_a_name_of_its_own():
    places: dict[str, str] = {}
    for name, tree in FILES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                assert node.name not in places, (node.name, places[node.name], name)
                places[node.name] = name


def test_only_the_command_prints():
    for name, tree in FILES.items():
        if room(name) != "cli":
            assert not calls(tree) & {"print", "sys.stdout.write", "click.echo"}, name


# functions that open, map, list, make, rename or delete files, and methods that do
OPENERS = {"open", "mmap", "mmap.mmap", "zipfile.ZipFile", "io.open", "io.FileIO"} | {
    f"os.{name}"
    for name in (
        "open", "fdopen", "listdir", "scandir", "walk", "stat", "lstat", "mkdir", "makedirs", "link",
        "symlink", "rename", "renames", "replace", "remove", "unlink", "rmdir", "truncate",
    )
} | {f"shutil.{name}" for name in ("rmtree", "move", "copy", "copyfile", "copytree")}  # fmt: skip
OPENING_METHODS = {
    "open", "memmap", "fromfile", "tofile", "iterdir", "glob", "rglob", "stat", "mkdir", "touch",
    "rename", "unlink", "rmdir", "symlink_to", "hardlink_to",
} | {f"{verb}_{kind}" for verb in ("read", "write") for kind in ("bytes", "text")}  # fmt: skip
# what a reader may ask of a path: it is about the text alone
PURE = {"join", "dirname", "basename", "abspath", "split", "splitext"}


def opens(tree: ast.AST) -> set[str]:
    """Return the calls of a file that have to do with files; the null device is none."""
    return {
        function
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (function := ast.unparse(node.func))
        and (
            function in OPENERS
            or (isinstance(node.func, ast.Attribute) and node.func.attr in OPENING_METHODS)
        )
        and not (node.args and ast.unparse(node.args[0]) == "os.devnull")
    }


def test_only_storage_opens_makes_and_deletes_files():
    for name, tree in FILES.items():
        found = opens(tree)
        if "tensorstore" in imports_of(tree):  # a library that opens its own files
            found = {call for call in found if "tensorstore" not in call.lower()}
        if room(name) != "storage":
            assert not found, name


def test_readers_ask_the_store_about_files():
    for name, tree in FILES.items():
        if room(name) in ("formats", "identify"):
            asked = {call.split("(")[0] for call in calls(tree) if "os.path." in call}
            assert asked <= {f"os.path.{function}" for function in PURE}, name
        if "tensorstore" in imports_of(tree):
            assert name == "formats.orbax.store"


def test_an_extra_that_is_named_exists():
    """Messages, pages and the notebook name what `pip install` knows."""
    root = PACKAGE.parent
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    pages = (*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("examples/*.ipynb"))
    for path in (*PACKAGE.rglob("*.py"), *pages):
        for named in re.findall(r"'\.\[([a-z,-]+)\]'", path.read_text("utf-8")):
            assert set(named.split(",")) <= set(extras), path
    core = {name_of_package(requirement) for requirement in project["dependencies"]}
    for name, requirements in extras.items():
        assert {*map(name_of_package, requirements)} - core, f"{name} is installed always"


def name_of_package(requirement: str) -> str:
    return re.split(r"[\[<>=]", requirement)[0]


def test_no_pickle_is_ever_loaded():
    for name, tree in FILES.items():
        modules = {module.split(".")[0] for module in imports_of(tree)}
        assert not modules & {
            "pickle",
            "cloudpickle",
            "dill",
            "torch",
            "marshal",
            "shelve",
        }, name
        assert not {c for c in calls(tree) if c in ("eval", "exec")}, name


def test_public_names_are_pinned():
    assert ex.__all__ == [
        "Calibration", "Change", "Comparison", "Evaluator", "ExplorerError", "FormatError", "GenerationSettings", "InputError",
        "Inventory", "Kind", "Ledger", "Lora", "MemoryPlan", "MismatchError", "MissingPackageError", "ParameterRole",
        "Quantized", "Summary", "Sweep", "TargetError", "TensorSpec", "Term", "Tie", "TreeError", "UnsafePickleError",
        "Variation", "Workload", "add_lora", "apply_lora", "apply_masks", "audit_roles", "build_model", "check_values",
        "combine", "combine_models", "compare", "count_bytes", "count_parameters", "count_tensors", "decay_mask",
        "dequantize", "describe", "diff", "digest", "dot", "embed", "evaluate_text", "explain", "explore", "extract_lora",
        "factorize", "gather_moments", "generate", "generate_text", "learned", "ledger", "load", "load_lora",
        "load_pretrained", "merge_lora", "partition", "plan", "plan_lora", "plan_pruning", "prune", "prune_masks",
        "quantize", "report", "report_roles", "save", "save_lora", "sensitivity", "shrink", "spectrum",
        "split_weights_biases", "summarize", "sweep", "to_checkpoint", "trace_roles",
    ]  # fmt: skip
    for name in ex.__all__:
        value = getattr(ex, name)
        assert value.__doc__, name
    assert set(ex.__all__) <= set(dir(ex))
    with pytest.raises(AttributeError, match="No explorer attribute nonsense"):
        ex.nonsense  # noqa: B018


@pytest.mark.parametrize("package", ["explorer", "explorer.training"])
def test_nothing_leaks_from_a_package(package: str):
    module = importlib.import_module(package)
    for name in module.__all__:
        getattr(module, name)
    for name, value in vars(module).items():
        is_room = isinstance(value, ModuleType) and value.__name__ == f"{package}.{name}"
        is_special = name.startswith("__") and name.endswith("__")
        assert name in module.__all__ or is_room or is_special, name


EXPLAINED = [
    pytest.param(value, id=f"{package.__name__}.{name}")
    for package in (ex, training)
    for name in package.__all__
    if callable(value := getattr(package, name))  # a tuple has the docstring of all tuples
]


@pytest.mark.parametrize("value", EXPLAINED)
def test_public_names_have_examples_with_results(value: Any):
    examples = doctest.DocTestParser().get_examples(value.__doc__ or "")
    assert any(example.want for example in examples)


def test_public_functions_are_documented():
    for name, tree in FILES.items():
        assert ast.get_docstring(tree), name
        for node in tree.body:
            if isinstance(
                node, ast.FunctionDef | ast.ClassDef
            ) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name}"


def test_importing_loads_neither_jax_nor_numpy():
    script = (
        "import sys, explorer, explorer.cli.main;"
        "assert not {'jax', 'numpy', 'flax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
