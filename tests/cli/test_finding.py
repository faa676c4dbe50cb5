"""Finding things: questions and their commands, what is installed, what the shell completes."""

import json
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from explorer.cli import doctor
from explorer.cli.main import cli
from explorer.cli.questions import QUESTIONS
from tests.cli.in_process import printed, run

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_explorer_alone_prints_questions(width):
    done = run(COLUMNS=str(width))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert "What is a bias?                 explorer explain bias" in lines


def test_every_command_of_the_questions_exists():
    words = [word for _, command in QUESTIONS for word in command.replace(",", " ").split()]
    commands = [after for before, after in pairwise(words) if before == "explorer"]
    assert set(commands) <= set(cli.list_commands(None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "command",
    [
        c
        for _, c in QUESTIONS
        if c.split()[1] in ("explain", "plan", "catalog") or "gpt2" in c
    ],
)
def test_commands_that_need_no_file_run(command):
    assert run(*command.split()[1:]).returncode == 0


def test_doctor_names_what_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "qwix" else "1.0")
    monkeypatch.setattr(doctor, "_repository", lambda: "/src/explorer")
    found = json.loads(printed("doctor", "--no-devices", "--format", "json"))
    assert found["command"] == "pip install -e '/src/explorer[qwix]'"
    assert {extra["extra"] for extra in found["extras"] if not extra["installed"]} == {
        "qwix"
    }
    monkeypatch.setattr(doctor, "_repository", lambda: None)
    lines = printed("doctor", "--no-devices").splitlines()
    assert "to install, in the repository  pip install -e '.[qwix]'" in lines


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_commands_are_never_broken_over_lines(width, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    monkeypatch.setattr(doctor, "_repository", lambda: "/home/someone/src/explorer")
    text = run("doctor", "--no-devices", COLUMNS=str(width)).stdout
    install = f"pip install -e '/home/someone/src/explorer[{','.join(doctor._EXTRAS)}]'"
    for command in (install, 'eval "$(_EXPLORER_COMPLETE=bash_source explorer)"'):
        (line,) = [line for line in text.splitlines() if command in line]
        assert line.endswith(command)  # nothing to leave out behind it
    asked = run(COLUMNS=str(width)).stdout.splitlines()
    for _, command in QUESTIONS:
        assert [line for line in asked if line.endswith(f" {command}")], command


def test_doctor_says_which_copy_runs():
    import explorer

    found = json.loads(printed("doctor", "--no-devices", "--format", "json"))
    assert Path(explorer.__file__).parent.parent == Path(found["read_from"])


def test_doctor_knows_every_extra_of_users():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for_users = {
        n for n, needs in extras.items() if not any("jax-explorer" in x for x in needs)
    }
    assert set(doctor._EXTRAS) == for_users


@pytest.mark.process
def test_doctor_asks_jax_in_a_process_of_its_own():
    code = "import sys; from explorer.cli.doctor import _devices; print(_devices(), 'jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("{'seen': ['cpu (cpu)'")
    assert done.stdout.endswith("'error': ''} False\n")


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "last"),
    [
        ("import time; time.sleep(9)", "JAX did not answer in 1 s"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_doctor_reports_a_jax_that_does_not_answer(monkeypatch, script, last):
    monkeypatch.setattr(doctor, "_SECONDS", 1)
    monkeypatch.setattr(doctor, "_ASK_JAX", script)
    assert f"devices                    {last}" in printed("doctor")


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (["show"], "llama-2-7", "llama-2-7b"),
        (["browse", "gpt2"], "gpt2-x", "gpt2-xl"),
        (["explain", "gpt2"], "qu", "quantisation"),
        (["explain"], "gpt2-x", "gpt2-xl"),
        (["explain"], "qu", "quantisation"),
        (["explain"], "", "bias"),
        (["plan", "gpt2", "--device"], "rtx-40", "rtx-4090"),
        (["plan", "gpt2", "--quantize"], "Q4_K", "Q4_K_M"),
        (["quantize", "gpt2", "--to"], "Q4_K", "Q4_K_M"),
        (["train"], "lin", "linear"),
        (["train", "linear", "--set"], "poi", "points="),
        ([], "expl", "explain"),
    ],
)
def test_the_shell_completes(words, incomplete, expected):
    complete = ShellComplete(cli, {}, "explorer", "_EXPLORER_COMPLETE")
    assert expected in [item.value for item in complete.get_completions(words, incomplete)]
