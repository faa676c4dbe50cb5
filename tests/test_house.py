"""Who may import whom, what is public, and who opens files or prints."""

import ast
import importlib
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import explorer as ex

PACKAGE = Path(ex.__file__).parent
# top to bottom; an import goes down, or stays in its room
FLOORS = [
    {"__main__"},
    {"cli"},
    {"recipes", "testing"},
    {"api"},
    {"targets"},
    {"pretrained"},
    {"training", "views"},
    {"models", "objects", "formats"},
    {"architectures"},
    {"identify"},
    {"roles", "analyses"},
    {"inventory", "tree", "storage", "document"},
    {"dtypes", "paths"},
    {"errors"},
]
# of the models, what needs no arrays: an architecture is known without JAX
RECORDS = tuple(
    f"architectures.{name}"
    for name in (
        "specs",
        "attention_specs",
        "architecture",
        "declaration",
        "config_fields",
        "checkpoint_names",
        "stored_tensors",
    )
)
FLOOR_OF = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py" or path.parent != PACKAGE
}


def imports_of(tree: ast.AST) -> set[str]:
    """Return every module that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {
                str(node.module)
            }
    return found


def own_imports(name: str) -> set[str]:
    """Return the files of explorer that a file imports."""
    found: set[str] = set()
    for node in ast.walk(FILES[name]):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("explorer"):
            base = str(node.module).removeprefix("explorer").lstrip(".")
            for alias in node.names:
                # `from package import module` is about the module
                whole = f"{base}.{alias.name}".lstrip(".")
                names = (whole, f"{whole}.__init__", base, f"{base}.__init__")
                found |= {
                    next(name for name in names if name in FILES or name == "__init__")
                }
    return found - {"__init__"}


def room(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down(name: str):
    for other in own_imports(name):
        same_room = room(other) == room(name)
        assert same_room or FLOOR_OF[room(other)] > FLOOR_OF[room(name)], (
            f"{name} -> {other}"
        )


def test_no_circles_between_files():
    TopologicalSorter({name: own_imports(name) - {name} for name in FILES}).prepare()


def test_rooms_without_jax():
    for name, tree in FILES.items():
        third_party = {module.split(".")[0] for module in imports_of(tree)}
        if room(name) in ("errors", "dtypes", "paths"):
            assert third_party <= {*sys.stdlib_module_names, "explorer"}, name
        if (
            room(name) in ("inventory", "analyses", "document", "views", "cli", "storage")
            or name == "roles.names"
            or name.startswith("architectures.families")
        ):
            assert not third_party & {"jax", "flax", "numpy", "optax"}, name
        if name in RECORDS:
            assert not third_party & {"jax", "flax", "optax"}, name


def test_readers_load_no_array_library_at_module_level():
    for name, tree in FILES.items():
        if room(name) == "formats":
            top = ast.Module([n for n in tree.body if not _is_type_checking(n)], [])
            for node in top.body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    modules = {module.split(".")[0] for module in imports_of(node)}
                    assert not modules & {"jax", "numpy", "tensorstore", "gguf"}, name


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_only_the_command_prints():
    for name, tree in FILES.items():
        if room(name) != "cli":
            assert not calls(tree) & {"print", "sys.stdout.write", "click.echo"}, name


# functions that open, map or list files, and methods of paths, files and arrays that do
OPENERS = {"open", "mmap", "mmap.mmap", "zipfile.ZipFile", "io.open", "io.FileIO"} | {
    f"os.{name}"
    for name in ("open", "fdopen", "listdir", "scandir", "walk", "stat", "lstat")
}
OPENING_METHODS = {"open", "memmap", "fromfile", "iterdir", "glob", "rglob", "stat"} | {
    f"{verb}_{kind}" for verb in ("read", "write") for kind in ("bytes", "text")
}
# what a reader may ask of a path: it is about the text alone
PURE = {"join", "dirname", "basename", "abspath", "split", "splitext"}


def opens(tree: ast.AST) -> set[str]:
    """Return the calls of a file that open, map or list files; the null device is none."""
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


def test_only_storage_opens_files_and_training_those_of_its_runs():
    for name, tree in FILES.items():
        found = opens(tree)
        if "tensorstore" in imports_of(tree):  # a library that opens its own files
            found = {call for call in found if "tensorstore" not in call.lower()}
        if room(name) not in ("storage", "training"):
            assert not found, name


def test_readers_ask_the_store_about_files():
    for name, tree in FILES.items():
        if room(name) in ("formats", "identify"):
            asked = {call.split("(")[0] for call in calls(tree) if "os.path." in call}
            assert asked <= {f"os.path.{function}" for function in PURE}, name
        if "tensorstore" in imports_of(tree):
            assert name == "formats.orbax.store"


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
        "Comparison", "ExplorerError", "FormatError", "InputError", "Inventory", "Kind", "Ledger",
        "MismatchError", "MissingPackageError", "ParameterRole", "Summary", "TargetError", "TensorSpec", "Tie",
        "TreeError", "UnsafePickleError", "audit_roles", "build_model", "combine", "compare", "count_bytes",
        "count_parameters", "count_tensors", "decay_mask", "explore", "ledger", "load", "load_pretrained",
        "partition", "report_roles", "split_weights_biases", "summarize", "to_checkpoint", "trace_roles",
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
