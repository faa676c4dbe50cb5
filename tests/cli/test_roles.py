"""`explorer roles` and `explorer count` of names: what a user reads."""

import json
from pathlib import Path

from tests.cli.in_process import printed, run


def test_roles_of_bert_by_use():
    text = printed("roles", "bert-base-uncased")
    assert "109,482,240 parameters = 109,379,328 weights + 102,912 biases, by use" in text
    lines = [line.split() for line in text.splitlines() if line]
    # kernels: 12 x (4 x 768^2 + 2 x 768 x 3072) and a pooler that sees one token of 128
    layers, pooler = 12 * (4 * 768**2 + 2 * 768 * 3072), 768**2
    work = next(line for line in lines if line[0] == "kernel")
    assert work[2] == f"{layers + pooler:,}"
    assert work[4] == f"{2 * (128 * layers + pooler) // 128:,}"
    narrow = run("roles", "bert-base-uncased", COLUMNS="100").stdout
    assert all(len(line) <= 100 for line in narrow.splitlines())


def test_records_add_up():
    report = json.loads(printed("roles", "gpt2", "--format", "json"))
    assert sum(row["parameters"] for row in report["rows"]) == 124_439_808
    assert sum(each["macs"] for each in report["work"]) == report["macs"]
    assert report["tied"] == ["embed/embedding"]
    rows = printed("roles", "gpt2", "--format", "csv").splitlines()
    assert len(rows) == 1 + len(report["rows"])


def test_exact_counts_stand_beside_advertised_ones():
    names = [
        "gpt2-xl",
        "llama-2-7b",
        "llama-2-70b",
        "grok-1",
        "deepseek-v3",
        "bert-base-uncased",
    ]
    lines = [line.split() for line in printed("count", *names).splitlines()]
    assert lines[0][:5] == ["target", "tensors", "parameters", "active", "advertised"]
    found = {line[0]: line[2:] for line in lines[1 : len(names) + 1]}
    assert found["gpt2-xl"][:2] == ["1,557,611,200", "1.5B"]
    assert found["llama-2-7b"][:2] == ["6,738,415,616", "7B"]
    assert found["llama-2-70b"][:2] == ["68,976,648,192", "70B"]
    assert found["grok-1"][:3] == ["315,684,820,992", "83,756,587,008", "314B/25%"]
    assert found["deepseek-v3"][:3] == ["671,026,404,352", "36,625,603,584", "671B/37B"]
    assert found["bert-base-uncased"][:2] == ["109,482,240", "110M"]


def test_errors_are_one_line_and_exit_2(tmp_path: Path):
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "llama", "hidden_size": -4}')
    for arguments, message in {
        ("roles", "lama-2-7b"): "did you mean llama-2-7b?",
        ("roles", "claude"): "Anthropic discloses neither",
        ("roles", str(config)): "hidden_size is -4; expected 1 to 2,147,483,647",
        ("count", str(tmp_path / "nothing")): "no such file or folder",
    }.items():
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
