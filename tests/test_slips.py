"""Slips: every public function with a table of wrong arguments ends in one clear line.

An argument may be wrong and still mean something to a function: then it has a result. An error of
the inside (AttributeError, KeyError, a bare TypeError) never surfaces.
"""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from safetensors.numpy import save_file

import explorer as ex
from explorer import training
from explorer.errors import ExplorerError
from tests.cli.in_process import run
from tests.surfacing import raised_inside

CONFIG = {
    "model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 4, "vocab_size": 6,
}  # fmt: skip
TREE = {"kernel": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float32)}
WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "an int": lambda: 3,
    "a str": lambda: "no-such-thing",
    "bytes": lambda: b"model.npz",
    "a list of paths": lambda: ["a.npz", "b.npz"],
    "a class": lambda: nn.Dense,
    "a Linen module": lambda: nn.Dense(3),
    "an NNX module": lambda: nnx.Linear(2, 3, rngs=nnx.Rngs(0)),
    "a config": lambda: dict(CONFIG),
    "a tree": lambda: dict(TREE),
    "a function": lambda: len,
    "an inventory": lambda: ex.explore(TREE),
    "a shape": lambda: (2, 3),
    "a file of text": lambda: "notes.txt",
    "a folder": lambda: "folder",
    "a file of text as a path": lambda: Path("notes.txt"),
}
# errors and records are made of fields that their own code fills in
RECORDS = {
    name
    for name in ex.__all__
    if isinstance(getattr(ex, name), type) or not callable(getattr(ex, name))
}
FUNCTIONS = {
    **{name: getattr(ex, name) for name in ex.__all__ if name not in RECORDS},
    **{
        f"training.{name}": getattr(training, name)
        for name in training.__all__
        if callable(getattr(training, name)) and name != "Progress"  # a protocol
    },
}


def required(function: Callable[..., Any]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.default is p.empty and p.kind not in kinds]


def called_with(function: Callable[..., Any], value: Any) -> Any:
    """Call a function with one value for every argument that it needs."""
    needed = required(function)
    by_name = {p.name: value for p in needed if p.kind is p.KEYWORD_ONLY}
    return function(*[value] * (len(needed) - len(by_name)), **by_name)


def _go_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the current folder one with a file of text and a folder of one."""
    (folder / "folder").mkdir()
    for path in ("notes.txt", "folder/notes.txt"):
        (folder / path).write_text("what people keep beside their models")
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_of_the_inside_surfaces(name: str, tmp_path: Path, monkeypatch: Any):
    _go_to(tmp_path, monkeypatch)
    assert raised_inside(lambda value: called_with(FUNCTIONS[name], value), WRONG) == []


# ---- what is wrong is said, with the cure


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ex.explore(nn.Dense(3), (1, 4)),
            "Dense: the example input (1, 4) is a tuple of numbers; expected an array; pass "
            "jnp.ones((1, 4)) or jax.ShapeDtypeStruct((1, 4), jnp.float32)",
        ),
        (
            lambda: ex.count_parameters((nn.Dense(3), (1, 4))),
            "Dense: the example input (1, 4) is a tuple of numbers; expected an array; pass "
            "jnp.ones((1, 4)) or jax.ShapeDtypeStruct((1, 4), jnp.float32)",
        ),
        (
            lambda: ex.explore({"x": jnp.ones(3)}).select(role="kernal"),
            "role: 'kernal'; expected kernel or embedding or scale or bias or other or weight; "
            "did you mean kernel?",
        ),
        (
            lambda: ex.explore(TREE).select("kernal"),
            "glob: no tensor matches 'kernal'; did you mean kernel?",
        ),
        (
            lambda: ex.explore({"layers": {"0": TREE}}).select("layers/0/bais"),
            "glob: no tensor matches 'layers/0/bais'; did you mean layers/0/bias?",
        ),
        (
            lambda: ex.explore(TREE).select("**/attention/**"),
            "glob: no tensor matches '**/attention/**'; its tensors are bias, kernel",
        ),
        (
            lambda: ex.explore(TREE).select(dtype="bf16"),
            "dtype: 'bf16'; expected float32",
        ),
        (
            lambda: ex.explore(TREE)["kernle"],
            "the inventory: has no tensor 'kernle'; did you mean kernel?",
        ),
        (
            lambda: ex.explore(None),
            "the target: is None, not a model; expected a path, a name, a config, a tree of "
            "arrays or a module; perhaps a function returned nothing",
        ),
        (
            lambda: ex.split_weights_biases(nn.Dense(3)),
            "Dense: is a Linen module; expected a tree of parameters; pass "
            'variables["params"] of module.init(key, *inputs)',
        ),
        (
            lambda: ex.split_weights_biases(CONFIG),
            "model_type: is str; expected an array; pass the parameters alone",
        ),
        (
            lambda: ex.split_weights_biases(TREE, roles=ex.explore({"a": np.ones(2)})),
            "roles: are those of another model: of a; expected of bias, kernel",
        ),
        (
            lambda: ex.split_weights_biases(TREE, roles={"bias": "kernal"}),
            "roles['bias']: 'kernal'; expected kernel or embedding or scale or bias or other",
        ),
        (
            lambda: ex.audit_roles(ROLES, {"kernel": np.ones((2, 9)), "bias": np.ones(9)}),
            "roles: are those of another model: bias [3]; expected bias [9]; pass what "
            "trace_roles returned for these parameters",
        ),
    ],
)
def test_the_cure_is_said(call: Callable[[], Any], message: str):
    with pytest.raises(ex.InputError) as caught:
        call()
    assert str(caught.value) == message


class Sized(nn.Module):
    """A module that takes a size, which is a tuple of numbers and not an array."""

    @nn.compact
    def __call__(self, size: tuple[int, int]) -> Any:
        return self.param("table", nn.initializers.ones, size) + jnp.zeros(size)


def test_a_size_that_a_module_asks_for_is_not_a_slip():
    assert ex.count_parameters(Sized(), (3, 4)) == 12
    lists = ([[1.0, 2.0]],)  # the content of an array, not a shape
    assert (
        ex.count_parameters((lambda p, x: jnp.array(x) @ p, jnp.ones((2, 3)), lists)) == 6
    )


class Tokens(nn.Module):
    """A module whose parameters are the same for every length of text."""

    @nn.compact
    def __call__(self, tokens: Any) -> Any:
        return nn.Embed(10, 4)(jnp.asarray(tokens)).sum()


@pytest.mark.parametrize("row", [[[1, 4]], [(1, 4)]])
def test_a_row_of_sizes_that_would_make_another_model(row: list):
    """Flax reads it as one example of two numbers: 9 parameters, where (1, 4) has 15."""
    with pytest.raises(ex.InputError, match=r"pass jnp\.ones\(\(1, 4\)\)"):
        ex.explore(nn.Dense(3), row)
    assert ex.count_parameters(nn.Dense(3), jnp.ones((1, 4))) == 15
    assert ex.count_parameters(nn.Dense(3), [[1.0, 4.0]]) == 9
    assert ex.count_parameters(nn.Dense(3), [[1, 4], [2, 3]]) == 9


def test_a_row_of_tokens_is_an_example():
    assert ex.count_parameters(Tokens(), [[1, 4]]) == 40


def test_selections_that_may_be_empty():
    inventory = ex.explore({"kernel": np.ones((2, 3), np.float32)})
    assert len(inventory.select(role="bias")) == 0
    assert len(inventory.select(dtype="bfloat16")) == 0
    assert len(inventory.select(collection="batch_stats")) == 0
    assert len(inventory.select("bias", missing_ok=True)) == 0
    with pytest.raises(KeyError):  # as of any mapping
        inventory["bias"]


def test_roles_of_the_wrong_checkpoint(tmp_path: Path, file: str):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    np.savez(tmp_path / "model.npz", **TREE)
    save_file(TREE, tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(ex.InputError) as caught:
            ex.report_roles(path)
        assert f"expected the tensors of {config}" in str(caught.value)
    with pytest.raises(ex.InputError, match=r"has no config\.json: nothing says what is"):
        ex.report_roles(file)
    assert ex.report_roles(config).parameters == ex.count_parameters(CONFIG)


@pytest.mark.parametrize("form", ["text", "json", "csv", "md"])
def test_one_bad_target_among_several(form: str, file: str, tmp_path: Path):
    done = run("count", file, tmp_path / "absent.npz", file, "nope", "--format", form)
    assert done.returncode == 2
    assert done.stdout == run("count", file, file, "--format", form).stdout
    first, second = done.stderr.splitlines()
    assert first.startswith(f"explorer: {tmp_path}/absent.npz: no such file")
    assert second.startswith("explorer: nope: no such file")
    done = run("count", "nope")
    assert (done.returncode, done.stdout) == (2, "")


def affine(params: Any, x: Any) -> Any:
    return x @ params["kernel"] + params["bias"]


X = jax.ShapeDtypeStruct((5, 2), jnp.float32)
ROLES = ex.trace_roles(affine, TREE, X)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("slips") / "model.npz"
    np.savez(path, **TREE)
    return str(path)


# a function with one argument that varies, and the others right
ONE_WRONG: dict[str, Callable[[Any, str], Any]] = {
    "explore(module, WRONG)": lambda v, f: ex.explore(nn.Dense(3), v),
    "explore(nnx, WRONG)": lambda v, f: ex.explore(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), v),
    "explore(module, X, WRONG)": lambda v, f: ex.explore(nn.Dense(3), X, v),
    "explore(tree, WRONG)": lambda v, f: ex.explore(TREE, v),
    "explore(tree, like=WRONG)": lambda v, f: ex.explore(TREE, like=v),
    "explore(file, like=WRONG)": lambda v, f: ex.explore(f, like=v),
    "explore((fn, WRONG, x))": lambda v, f: ex.explore((affine, v, (X,))),
    "explore((fn, params, WRONG))": lambda v, f: ex.explore((affine, TREE, v)),
    "explore((WRONG, params, x))": lambda v, f: ex.explore((v, TREE, (X,))),
    "explore((WRONG, x))": lambda v, f: ex.explore((v, X)),
    "explore({'a': WRONG})": lambda v, f: ex.explore({"a": v}),
    "summarize(by=)": lambda v, f: ex.summarize(TREE, by=v),
    "summarize(depth=)": lambda v, f: ex.summarize(TREE, by="module", depth=v),
    "compare(tree, WRONG)": lambda v, f: ex.compare(TREE, v),
    "report_roles(length=)": lambda v, f: ex.report_roles(dict(CONFIG), length=v),
    "report_roles((fn, params, WRONG))": lambda v, f: ex.report_roles((affine, TREE, v)),
    "audit_roles(WRONG, params)": lambda v, f: ex.audit_roles(v, TREE),
    "audit_roles(roles, WRONG)": lambda v, f: ex.audit_roles(ROLES, v),
    "audit_roles(optimizer=)": lambda v, f: ex.audit_roles(ROLES, TREE, v),
    "trace_roles(WRONG, params, x)": lambda v, f: ex.trace_roles(v, TREE, X),
    "trace_roles(fn, WRONG, x)": lambda v, f: ex.trace_roles(affine, v, X),
    "trace_roles(fn, params, WRONG)": lambda v, f: ex.trace_roles(affine, TREE, v),
    "build_model(dtype=)": lambda v, f: ex.build_model(dict(CONFIG), dtype=v),
    "build_model(param_dtype=)": lambda v, f: ex.build_model(dict(CONFIG), param_dtype=v),
    "load(select=)": lambda v, f: ex.load(f, select=v),
    "load_pretrained(dtype=)": lambda v, f: ex.load_pretrained(f, dtype=v),
    "to_checkpoint(params, WRONG)": lambda v, f: ex.to_checkpoint(TREE, v),
    "to_checkpoint(WRONG, config)": lambda v, f: ex.to_checkpoint(v, dict(CONFIG)),
    "partition(tree, WRONG)": lambda v, f: ex.partition(TREE, v),
    "combine(tree, WRONG)": lambda v, f: ex.combine(TREE, v),
    "split_weights_biases(roles=)": lambda v, f: ex.split_weights_biases(TREE, roles=v),
    "select(glob)": lambda v, f: ex.explore(TREE).select(v),
    "select(role=)": lambda v, f: ex.explore(TREE).select(role=v),
    "select(component=)": lambda v, f: ex.explore(TREE).select(component=v),
    "select(dtype=)": lambda v, f: ex.explore(TREE).select(dtype=v),
    "select(collection=)": lambda v, f: ex.explore(TREE).select(collection=v),
    "inventory[WRONG]": lambda v, f: ex.explore(TREE)[v],
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what layers make of it
@pytest.mark.parametrize("name", ONE_WRONG)
def test_one_wrong_argument(name: str, file: str, monkeypatch: Any, tmp_path: Path):
    _go_to(tmp_path, monkeypatch)
    raw = []
    for word, make in WRONG.items():
        value = make()
        try:
            ONE_WRONG[name](value, file)
        except ExplorerError as error:
            if "\n" in str(error):
                raw.append((word, "several lines", str(error)))
        except Exception as error:
            raw.append((word, type(error).__name__, str(error)[:200]))
    assert raw == []
