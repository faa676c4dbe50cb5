"""What needs values names the target that has none, and what to do instead."""

import numpy as np
import pytest

from tests.cli.in_process import run

COMMANDS = (
    ("stats", "gpt2"),
    ("digest", "gpt2"),
    ("spectrum", "gpt2"),
    ("convert", "gpt2", "OUT"),
    ("report", "gpt2", "--values", "-o", "OUT"),
    ("quantize", "gpt2", "--to", "int8", "-o", "FOLDER"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_place_is_the_name_and_there_is_a_cure(tmp_path, command):
    arguments = [str(tmp_path / "out.gguf") if part == "OUT" else part for part in command]
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("explorer: gpt2: ")
    assert "Target" not in line
    assert "explorer " in line.removeprefix("explorer: ") or "name the file" in line


@pytest.mark.parametrize("pair", [("gpt2", "gpt2-medium"), ("FILE", "gpt2")])
def test_diff_of_shapes_points_to_compare(tmp_path, pair):
    np.savez(tmp_path / "a.npz", kernel=np.ones((2, 2), "float32"))
    done = run("diff", *(str(tmp_path / "a.npz") if n == "FILE" else n for n in pair))
    assert done.returncode == 2
    assert "explorer: gpt2: has shapes and no values; " in done.stderr
    assert "`explorer compare` compares the shapes of two targets" in done.stderr
