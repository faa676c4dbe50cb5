"""catalog with words, and what the shell completes."""

import csv
import io
import json

import pytest

from tests.cli.in_process import run


def _rows(*args: str) -> list[dict[str, str]]:
    return list(
        csv.DictReader(io.StringIO(run("catalog", *args, "--format", "csv").stdout))
    )


def test_words_a_family_and_an_order():
    assert [row["name"] for row in _rows("llama", "8B")] == ["llama-3.1-8b"]
    gemma = _rows("--family", "gemma2", "--sort", "parameters")
    assert [row["name"] for row in gemma] == ["gemma-2-27b", "gemma-2-9b", "gemma-2-2b"]
    assert {row["publisher"] for row in gemma} == {"google"}
    by_name = [row["name"] for row in _rows("--sort", "name")]
    assert by_name == sorted(by_name)
    shown = json.loads(
        run("catalog", "gemma-2", "--format", "json", "--sort", "name").stdout
    )
    assert [model["names"][0] for model in shown["models"]][:2] == [
        "gemma-2-27b",
        "gemma-2-2b",
    ]
    closed = json.loads(run("catalog", "claude", "--format", "json").stdout)
    assert closed["models"] == []
    assert closed["undisclosed"][0]["publisher"] == "Anthropic"


def test_the_text_has_publishers_and_the_sum_of_a_file():
    lines = run("catalog", "deepseek", "v3", COLUMNS="160").stdout.splitlines()
    assert lines[0].split()[:5] == [
        "name",
        "parameters",
        "active",
        "advertised",
        "publisher",
    ]
    assert "91,991  deepseek_v3              45,395" in lines[1]
    assert (
        "deepseek-v3: 91,991 file tensors = 45,395 checkpoint tensors + 45,032 scales + 1,564 "
        "tensors of extra layers"
    ) in lines
    assert "publisher" in run("catalog").stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["nothing"],
            "nothing: no model of the catalogue fits; expected words of a name, ",
        ),
        (["llama", "9b"], "llama 9b: no model of the catalogue fits; "),
        (
            ["bert-base-cased"],
            "or a size such as 8B; the catalogue has bert-base-uncased, ",
        ),
        (
            ["--family", "t5"],
            "--family t5: the catalogue has no such family; expected one of",
        ),
        (["claude", "--family", "bert"], "claude: no model of the catalogue fits; "),
        (["x\x1b[31m"], r"x\x1b[31m: no model"),
    ],
)
def test_what_fits_nothing_is_one_line(args: list[str], message: str):
    done = run("catalog", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def _completed(*words: str, cwd=None) -> list[str]:
    line = " ".join(("explorer", *words))
    done = run(
        cwd=cwd,
        _EXPLORER_COMPLETE="bash_complete",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words)),
    )
    return done.stdout.split()


def test_names_of_the_catalogue_are_completed_beside_files(tmp_path):
    assert _completed("show", "qwen3-0") == ["file,qwen3-0", "plain,qwen3-0.6b"]
    assert "plain,llama-2-70b" in _completed("count", "gpt2", "llama-2")
    assert "plain,meta-llama/Llama-3.1-8B" in _completed("roles", "meta-llama/L")
    assert _completed("count", "QWEN3-0") == ["file,QWEN3-0", "plain,qwen3-0.6b"]
    assert "plain,meta-llama/Llama-3.1-8B" in _completed("roles", "META-LLAMA/l")
    assert _completed("catalog", "qwen3-0") == ["plain,qwen3-0.6b"]
    assert {"plain,qwen2.5-7b", "plain,qwen2", "plain,Qwen"} <= set(
        _completed("catalog", "Qw")
    )
    for typed in ("./ll", "/tmp/gp", "nothing"):
        assert _completed("lock", typed) == [f"file,{typed}"]
    (tmp_path / "gpt2-mine").mkdir()
    assert _completed("show", "gpt2-m", cwd=tmp_path) == [
        "file,gpt2-m",
        "plain,gpt2-medium",
        "plain,gpt2-mine",
    ]


def test_families_recipes_and_settings_are_completed():
    assert _completed("catalog", "--family", "qwen3") == ["plain,qwen3", "plain,qwen3_moe"]
    assert _completed("catalog", "--sort", "fa") == ["plain,family"]
    assert _completed("train", "d") == ["plain,digits"]
    assert _completed("train", "digits", "--set", "wid") == ["plain,width="]
    assert "plain,steps=" in _completed("train", "linear", "--set", "seed=1", "--set", "st")
    assert _completed("train", "--set", "s") == []
