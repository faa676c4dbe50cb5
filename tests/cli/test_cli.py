"""The command as a user meets it: what it prints, exact exit codes, one line an error.

Only what a process is needed for (pipes, terminals, closed streams, imports) starts one.
"""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import facts
from tests.analyses.test_ledger import MODELS
from tests.checkpoints import Layout, write_folder, write_sharded, write_sparse
from tests.cli.in_process import run

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
HOSTILE = [
    "line\nbreak",
    "\x1b[31mred",
    "[bold]x[/bold]",
    "</script><b>",
    "x" * 10_000,
    "\u202eabc",
]


@pytest.fixture
def minilm(tmp_path: Path) -> Path:
    listing = facts.listing(MINILM)["tensors"]
    layout: Layout = {"embeddings.position_ids": ((1, 512), "I64")}
    layout |= {name: (tuple(shape), "F32") for name, shape in listing.items()}
    return write_folder(tmp_path / "minilm", layout, MODELS[MINILM]["config"])


def test_show_begins_with_one_sentence(minilm: Path):
    done = run("show", minilm)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "22,713,216 parameters in 103 tensors = 22,687,104 weights + 26,112 biases"
        in done.stdout
    )
    assert (
        "position ids (one tensor): 512 elements are buffers, not parameters" in done.stdout
    )
    assert "encoder/layer/[0-5]" in done.stdout
    assert "\x1b" not in done.stdout


def test_count_json_has_the_promised_keys(minilm: Path, tmp_path: Path):
    other = write_sparse(tmp_path / "b.safetensors", {"w.weight": ((3, 2), "BF16")})
    done = run("count", minilm, other, "--format", "json")
    first, second = json.loads(done.stdout)
    assert set(first) >= {
        "target", "source", "tensors", "parameter_tensors", "parameters", "weights", "biases",
        "buffers", "stored_elements", "nbytes", "file_bytes", "bits_per_weight", "roles",
        "components", "dtypes", "collections", "tied", "active_parameters", "provenance", "notes",
    }  # fmt: skip
    assert first["tensors"] == 104
    assert first["parameter_tensors"] == 103
    assert (first["parameters"], first["buffers"]) == (22_713_216, 512)
    assert first["stored_elements"] == 22_713_728
    assert first["file_bytes"] == (minilm / "model.safetensors").stat().st_size
    assert (second["target"], second["parameters"], second["bits_per_weight"]) == (
        str(other),
        6,
        16,
    )


def test_figures_beyond_64_bits_stay_exact():
    """No file is as large; shapes can be. In a process of its own, as in a user's script."""
    script = (
        "import jax, explorer as ex\n"
        "shape = jax.ShapeDtypeStruct((2**31, 2**31), 'float32')\n"
        "inventory = ex.explore(dict.fromkeys('abcde', shape))\n"
        "assert inventory.num_parameters == 5 * 2**62\n"
        "assert inventory.nbytes == 20 * 2**62\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("form", ["csv", "md"])
def test_exported_rows_add_up(minilm: Path, form: str):
    for options in (["--all"], []):
        text = run("show", minilm, "--format", form, *options).stdout
        if form == "csv":
            rows = list(csv.DictReader(io.StringIO(text)))
            assert sum(int(row["parameters"]) for row in rows) == 22_713_216
        else:
            column = [line.split(" | ") for line in text.splitlines()]
            index = column[0].index("parameters")
            assert sum(int(row[index].replace(",", "")) for row in column[2:]) == 22_713_216


def test_by_groups_in_every_form(minilm: Path):
    for by in ("role", "component", "module", "dtype", "collection"):
        rows = list(
            csv.DictReader(
                io.StringIO(run("show", minilm, "--by", by, "--format", "csv").stdout)
            )
        )
        *groups, total = rows
        assert total["name"] == "total"
        for word in ("tensors", "parameters", "weights", "biases", "elements", "nbytes"):
            assert sum(int(row[word]) for row in groups) == int(total[word])
    assert json.loads(run("show", minilm, "--by", "role", "--format", "json").stdout)[
        "total"
    ]


@pytest.mark.parametrize("columns", ["60", "80", "119", "250", "7", "9999"])
def test_no_line_is_wider_than_the_terminal(minilm: Path, columns: str):
    limit = min(max(int(columns), 60), 250)
    for args in (["show"], ["show", "--all"], ["count"], ["show", "--by", "module"]):
        done = run(*args, minilm, COLUMNS=columns)
        assert max(map(len, done.stdout.splitlines())) <= limit


def test_names_are_never_markup(tmp_path: Path):
    layout: Layout = {f"{name}.weight": ((2, 2), "F32") for name in HOSTILE}
    folder = write_folder(tmp_path / "hostile", layout)
    for args in (["show", "--all"], ["show"], ["show", "--format", "md"], ["lock"]):
        done = run(*args, folder)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        assert "\u202e" not in done.stdout
    shown = run("show", folder, "--all").stdout
    assert "[bold]x[/bold]" in shown  # literally
    assert r"line\nbreak" in shown
    assert json.loads(run("show", folder, "--all", "--format", "json").stdout)["tensors"][0][
        "path"
    ] == "line\nbreak/weight"  # fmt: skip


def test_lock_and_check(minilm: Path, tmp_path: Path):
    lock = tmp_path / "params.lock"
    lock.write_text(run("lock", minilm).stdout)
    assert "float32[30522,384] embeddings/word_embeddings/weight\n" in lock.read_text()
    assert run("check", minilm, lock).returncode == 0
    listing = facts.listing(MINILM)["tensors"]
    layout = {name: (tuple(shape), "F32") for name, shape in listing.items()}
    layout["pooler.dense.weight"] = ((384, 385), "F32")
    layout["pooler.dense.bias"] = ((384,), "F16")
    layout["extra.weight"] = ((1,), "F32")
    done = run("check", write_folder(tmp_path / "other", layout), lock)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "removed   embeddings/position_ids int64[1, 512]",
        "added     extra/weight float32[1]",
        "reshaped  pooler/dense/weight float32[384, 384] -> float32[384, 385]",
        "recast    pooler/dense/bias float32[384] -> float16[384]",
        "1 removed, 1 added, 1 reshaped, 1 recast, 101 unchanged",
    ]


def test_lock_of_hostile_names_is_its_own_match(tmp_path: Path):
    layout: Layout = {
        f"{name}.weight": ((2, 2), "F32") for name in [*HOSTILE, "", " ", '"q"', "#"]
    }
    folder = write_folder(tmp_path / "hostile", layout)
    (tmp_path / "lock").write_text(run("lock", folder).stdout, encoding="utf-8")
    assert run("check", folder, tmp_path / "lock").returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts with ''"),
        ("garbage\n", "starts with 'garbage'; expected '# explorer lock 1'"),
        ("# explorer lock 1\nfloat32 x\n", "lock:2: 'float32 x'; expected a line such as"),
        (
            "# explorer lock 1\nfloat32[,] x\n",
            "lock:2: 'float32[,] x'; expected a lock line",
        ),
    ],
)
def test_bad_locks(minilm: Path, tmp_path: Path, text: str, message: str):
    (tmp_path / "lock").write_text(text)
    done = run("check", minilm, tmp_path / "lock")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_bad_targets_are_one_line_and_exit_2(minilm: Path, tmp_path: Path):
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "nothing").mkdir()
    (tmp_path / "junk").write_bytes(b"hello world, this is not a checkpoint")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    unreadable = tmp_path / "unreadable.safetensors"
    unreadable.mkdir()
    for target, message in {
        tmp_path
        / "minilmm": "no such file or folder, and no architecture of that name; expected a "
        "path, a name of `explorer catalog`, or package.module:attribute; "
        f"did you mean {minilm}?",
        tmp_path / "empty.safetensors": "is empty",
        tmp_path / "nothing": "holds no weights that explorer knows (nothing)",
        tmp_path
        / "junk": "is text, not a checkpoint: 'hello world, this is not a checkpoint'",
        tmp_path / "fifo": "is not a regular file",
        tmp_path / "loop": "cannot be read: Too many levels of symbolic links",
        unreadable: "holds no weights that explorer knows",
        "no_such_module:model": "cannot be imported (ModuleNotFoundError: No module named",
    }.items():
        done = run("show", target)
        assert (done.returncode, done.stdout) == (2, ""), target
        assert message in done.stderr, target
        assert done.stderr.startswith("explorer: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("target", ["x" * 5000, "a\tb", "", "minilm/model.safetensors/x"])
def test_impossible_paths_are_not_targets(minilm: Path, target: str):
    done = run("count", target, cwd=minilm.parent)
    assert done.returncode == 2
    assert "no such file or folder" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_error_that_nobody_can_read_still_has_its_code(tmp_path: Path):
    for where in ("2> /dev/full", "2>&-"):
        command = f"{sys.executable} -m explorer count nothing {where}"
        assert subprocess.run(command, shell=True, cwd=tmp_path).returncode == 2


def test_a_python_model_is_a_target(tmp_path: Path):
    (tmp_path / "my_models.py").write_text(
        "import flax.linen as nn, jax, jax.numpy as jnp\n"
        "tree = {'kernel': jnp.zeros((2, 3)), 'bias': jnp.zeros(3)}\n"
        "def dense():\n    return nn.Dense(3), jax.ShapeDtypeStruct((1, 2), 'float32')\n"
        "def broken():\n    raise ValueError('no\\nway')\n"
    )
    for name in ("tree", "dense"):
        done = run("count", f"my_models:{name}", "--format", "json", cwd=tmp_path)
        counted = json.loads(done.stdout)[0]
        assert (counted["parameters"], counted["weights"], counted["biases"]) == (9, 6, 3)
    done = run("count", "my_models:broken", cwd=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr == "explorer: my_models:broken: cannot be imported (ValueError: no)\n"
    )


def test_selecting_nothing_and_wrong_options(minilm: Path):
    assert "no tensor matches 'nope'" in run("show", minilm, "--select", "nope").stderr
    see = {command: f"; see explorer {command} --help" for command in ("show", "count")}
    for args, start, end in (
        (["shwo", minilm], "explorer: no such command 'shwo'; did you mean show?", ""),
        ([minilm], f"explorer: no such command {str(minilm)!r}; to see what is in it: "
         f"explorer show {minilm}; see explorer --help", ""),
        (["show"], "explorer show: Missing argument 'TARGET'", see["show"]),
        (["show", minilm, "--by", "colour"], "explorer show: Invalid value for '--by': 'colour' is "
         "not one of 'role', 'component', 'module', 'dtype', 'collection'", see["show"]),
        (["show", minilm, "--fromat", "csv"], "explorer show: No such option", see["show"]),
        (["show", "a", "b\x1b[31m\nc"], "explorer show: Got unexpected extra argument "
         r"(b\x1b[31m c)", see["show"]),
        (["count"], "explorer count: Missing argument 'TARGET...'", see["count"]),
    ):  # fmt: skip
        done = run(*args)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(start)
        assert done.stderr.endswith(f"{end}\n")
        assert done.stderr.count("\n") == 1


def test_help_has_examples_and_completion_works():
    assert "explorer show model.safetensors" in run("--help").stdout
    for command in ("show", "count", "lock", "check"):
        assert f"explorer {command} " in run(command, "--help").stdout
    done = run(_EXPLORER_COMPLETE="bash_complete", COMP_WORDS="explorer co", COMP_CWORD="1")
    assert "count" in done.stdout


def test_no_file_format_loads_jax_or_numpy(minilm: Path, tmp_path: Path):
    """Proved by making both unimportable."""
    write_sharded(
        tmp_path / "sharded", {f"l.{i}.weight": ((2, 2), "F32") for i in range(9)}, 3
    )
    blocked = "import sys; sys.modules.update(dict.fromkeys(['jax','numpy','flax']));"
    script = blocked + "from explorer.cli.main import main; main()"
    for target in (minilm, tmp_path / "sharded"):
        done = subprocess.run(
            [sys.executable, "-c", script, "count", str(target)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def test_a_command_loads_no_module_of_another(minilm: Path):
    script = (
        "import sys\n"
        "from explorer.cli.main import cli\n"
        "try:\n    cli.main(['count', sys.argv[1]])\n"
        "finally:\n    print(*sorted(m for m in sys.modules if m.startswith('explorer.cli.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(minilm)], capture_output=True, text=True
    )
    loaded = done.stdout.splitlines()[-1]
    modules = ("console", "count", "main", "terminating")
    assert loaded == " ".join(f"explorer.cli.{name}" for name in modules)


def test_colour_only_in_a_terminal(minilm: Path):
    import pty

    def in_terminal(**env: str) -> str:
        main, side = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "explorer", "count", str(minilm)],
            stdout=side,
            env={**os.environ, "TERM": "xterm", **env},
        )
        os.close(side)
        out = b""
        while True:
            try:
                chunk = os.read(main, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not chunk:
                break
            out += chunk
        process.wait()
        os.close(main)
        return out.decode()

    assert "\x1b[" in in_terminal()
    assert "\x1b[" not in in_terminal(NO_COLOR="1")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "> /dev/full",
            "explorer: standard output: cannot be written: No space left on device\n",
        ),
        (">&-", "explorer: standard output: is closed\n"),
    ],
)
@pytest.mark.parametrize("command", ["show {}", "lock {}", "--help"])
def test_output_that_cannot_be_written(
    minilm: Path, where: str, message: str, command: str
):
    done = subprocess.run(
        f"{sys.executable} -m explorer {command.format(minilm)} {where}",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.parametrize("arguments", [["show", "."], ["show", "--help"], ["--help"]])
def test_a_closed_pipe_is_not_an_error(minilm: Path, arguments: list[str]):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "explorer", *arguments],
        cwd=minilm,
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_wrong_command_is_never_reported_on_stdout(tmp_path: Path):
    done = subprocess.run(
        f"{sys.executable} -m explorer shwo 2>&-", shell=True, capture_output=True
    )
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "lock"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "loop", "large"])
def test_only_small_regular_files_are_read_completely(minilm: Path, name: str, kind: str):
    path = minilm / name
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else name)
    done = run(*(["check", minilm, path] if name == "lock" else ["count", minilm]))
    assert (done.returncode, done.stdout) == (2, "")
    said = {
        "loop": "cannot be read: Too many levels of symbolic links",
        "large": "is larger than ",
    }.get(kind, "is not a regular file")
    assert done.stderr.startswith(f"explorer: {path}: {said}")
    assert done.stderr.count("\n") == 1


def test_a_model_that_exits_is_an_error(tmp_path: Path):
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    done = run("count", "leaves:model", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "explorer: leaves:model: cannot be imported (SystemExit: 0)\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libx.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_runs_out_is_one_line(
    error: BaseException, minilm: Path, monkeypatch: pytest.MonkeyPatch
):
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr("explorer.cli.count._ledgers", failing)
    done = run("count", minilm)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "explorer: this needs more memory than there is\n"


def test_other_errors_of_libraries_are_not_hidden(
    minilm: Path, monkeypatch: pytest.MonkeyPatch
):
    def failing(*_: object) -> None:
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr("explorer.cli.count._ledgers", failing)
    with pytest.raises(RuntimeError, match="a fault of the program"):
        run("count", minilm)
