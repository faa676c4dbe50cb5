"""Every word has its topic, every number is the target's own, every command runs."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.document.text import text_of
from explorer.errors import InputError
from explorer.explaining.document import explanation_document
from explorer.explaining.words import TOPICS
from tests.cli.in_process import run

WORDS = json.loads(
    (Path(__file__).parent.parent / "data/explaining/seed_words.json").read_text()
)
SYNONYMS = {
    "parameters": "parameter", "weights": "weight", "MoE": "mixture of experts", "params": "parameter",
    "quantization": "quantisation", "4-bit": "quantisation", "biases": "bias", "QLoRA": "LoRA",
    "backpropagation": "learning", "context window": "hyperparameter", "GPU": "memory",
}  # fmt: skip


def words_of(topic) -> str:
    """Return all that a topic says, in one line."""
    facts = (f"{fact.name} {fact.shown} {fact.how}" for fact in topic.facts)
    return " ".join((topic.question, topic.brief, *topic.details, *facts)).casefold()


@pytest.mark.parametrize("topic", TOPICS)
def test_what_people_ask_about_has_its_topic(topic):
    (found,) = ex.explain("llama-3.1-8b", topic).topics
    said = words_of(found)
    assert not [word for word in WORDS[topic] if word.casefold() not in said]


def test_every_topic_has_words_of_its_own():
    assert list(WORDS) == list(TOPICS)


@pytest.mark.parametrize(("word", "topic"), SYNONYMS.items())
def test_other_words_for_a_topic(word, topic):
    assert ex.explain("gpt2", word).topics[0].word == topic


def test_all_topics_in_brief_and_in_order():
    found = ex.explain("gpt2")
    assert [topic.word for topic in found.topics] == list(TOPICS)
    assert all(topic.brief and topic.command for topic in found.topics)


@pytest.mark.parametrize(
    "name", ["gpt2", "llama-2-7b", "mixtral-8x7b", "bert-base-uncased"]
)
def test_numbers_are_those_of_the_ledger(name):
    ledger = ex.ledger(name)
    explained = {
        topic.word: topic for topic in (ex.explain(name, word).topics[0] for word in TOPICS)
    }
    facts = {fact.name: fact.value for topic in explained.values() for fact in topic.facts}
    assert facts["parameters"] == ledger.nbytes or facts["total"] > facts["parameters"]
    assert facts["tensors of parameters"] == ledger.parameter_tensors
    assert facts[f"biases of {name}"] == ledger.biases
    assert facts["at 4 bits"] == ledger.bytes_at["4"]
    weights = sum(fact.value for fact in explained["weight"].facts)
    assert weights == ledger.weights
    for topic in ("tensor", "parameter", "weight", "bias"):
        assert f"{ledger.parameters:,}" in explained[topic].brief


def test_memory_says_how_a_model_is_kept_where_that_is_not_16_bits():
    def said(name: str) -> str:
        return ex.explain(name, "memory").topics[0].brief

    assert "As it is kept, at 8.03 bits for each, deepseek-v3 takes 673.2 GB." in said(
        "deepseek-v3"
    )
    assert "As it is kept, at 32 bits for each, gpt2 takes 497.8 MB." in said("gpt2")
    assert "As it is kept" not in said("llama-2-7b")


def test_the_adapter_by_hand_is_on_a_kernel_of_attention():
    details = " ".join(ex.explain("llama-3.1-8b", "LoRA").topics[0].details)
    assert "Beside a kernel of 4,096 x 4,096 = 16,777,216 weights" in details


def test_one_is_one():
    params = {"kernel": np.ones((1, 1), "float32"), "bias": np.ones(1, "float32")}
    assert "1 is a weight, 1 is a bias." in ex.explain(params).headline
    said = " ".join(words_of(ex.explain(params, word).topics[0]) for word in TOPICS)
    assert not re.findall(
        r"(?<![\d.,] )\b1 (?:are|weights|biases|parameters|tensors|inputs)\b", said
    )


@pytest.mark.parametrize(
    ("name", "claim"),
    [("grok-1", 'calls it "314B"'), ("deepseek-v3", 'rounds this to "671B"')],
)
def test_a_publisher_rounds_only_to_what_a_number_rounds_to(name, claim):
    (topic,) = ex.explain(name, "parameter").topics
    assert f"Its publisher {claim} (B: billion)." in topic.brief


@pytest.mark.parametrize("name", ["deepseek-v3", "gpt2-xl", "gpt2"])
def test_no_model_is_named_twice(name):
    (topic,) = ex.explain(name, "parameter").topics
    names = [fact.name for fact in topic.facts]
    assert len(set(names)) == len(names)
    words = topic.command.split()
    assert len(set(words)) == len(words)
    assert name in names
    assert name in words


@pytest.mark.parametrize("word", ["buffer", "buffers", "state"])
def test_buffers_are_explained(word):
    (topic,) = ex.explain("deepseek-v3", word).topics
    assert "deepseek-v3 has 58 such tensors." in " ".join(topic.details)


def test_a_mistyped_word_is_not_taken_for_another():
    done = run("explain", "llama-2-7b", "biass")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean bias?" in done.stderr


NOT_OF_TEXT = ("vit-base", "vit-large")


@pytest.mark.parametrize("name", NOT_OF_TEXT)
@pytest.mark.parametrize("word", ["embedding", "memory", "speed", "cost"])
def test_nothing_is_said_of_tokens_of_a_model_of_images(name, word):
    (topic,) = ex.explain(name, word).topics
    said = words_of(topic)
    for other in ("in a model of text the embedding is a table with a row of learned numbers, a "
                  "vector, for each token", "reads no tokens", "not known to write text token by token",
                  "no rate of tokens", "no price of tokens"):  # fmt: skip
        said = said.replace(other, "")
    assert "token" not in said
    assert "cache" not in said


def test_what_is_looked_up_multiplies_nothing(tmp_path):
    save_file(
        {"embedding.weight": np.ones((100, 8), "float32")}, tmp_path / "table.safetensors"
    )
    (topic,) = ex.explain(tmp_path / "table.safetensors", "speed").topics
    assert "rows of its 800 numbers are looked up, which multiplies nothing" in topic.brief
    assert [(fact.name, fact.value) for fact in topic.facts] == [("weights in kernels", 0)]


def test_a_network_of_which_nothing_says_that_it_reads_text_has_no_operations_of_a_token(
    tmp_path,
):
    arrays = {
        "conv.weight": np.ones((8, 4, 3), "float32"),
        "conv.bias": np.ones(8, "float32"),
    }
    save_file(arrays, tmp_path / "conv.safetensors")
    (topic,) = ex.explain(tmp_path / "conv.safetensors", "speed").topics
    assert "has 96 such weights" in topic.brief
    assert [(fact.name, fact.value) for fact in topic.facts] == [("weights in kernels", 96)]


def test_headline_is_books_and_shelves():
    assert ex.explain("llama-2-7b").headline == (
        "llama-2-7b has 6,738,415,616 parameters (books) kept in 291 tensors (shelves). All are "
        "weights; none is a bias. At 16 bits they take 13.5 GB, at 4 bits 3.4 GB."
    )


def test_a_size_in_a_name_is_not_the_number_of_tensors():
    brief = ex.explain("llama-3.1-8b", "tensor").topics[0].brief
    assert '"8B" counts the books: it is not the number of tensors.' in brief


@pytest.mark.parametrize("name", ["gpt-4", "claude"])
def test_what_is_not_disclosed_is_not_computed(name):
    found = ex.explain(name)
    text = words_of(found.topics[0])
    assert len(found.topics) == 1
    assert "discloses neither" in text
    with pytest.raises(InputError) as error:
        ex.explore(name)
    for estimate in re.findall(r"about [\d.]+ trillion", str(error.value)):
        assert estimate in text
    assert "a public estimate, which is not a count" in text or "no estimate" in text


def test_a_word_on_a_model_that_is_not_disclosed_is_explained_on_another():
    (topic,) = ex.explain("claude", "bias").topics
    assert "discloses neither" in topic.brief
    assert topic.details[0].startswith("On llama-3.1-8b, which is public: A bias is")


def test_a_tree_in_memory():
    params = {
        "dense": {"kernel": np.ones((4, 3), "float32"), "bias": np.ones(3, "float32")}
    }
    found = ex.explain(params)
    assert "15 parameters (books) kept in 2 tensors (shelves)" in found.headline
    assert "12 are weights, 3 are biases." in found.headline


def test_a_file_without_a_config_says_what_it_lacks(tmp_path):
    np.savez(tmp_path / "model.npz", kernel=np.ones((4, 3), "float32"))
    found = {topic.word: topic.brief for topic in ex.explain(tmp_path / "model.npz").topics}
    assert "Nothing beside model.npz describes it" in found["hyperparameter"]
    assert "adapters are not planned" in found["LoRA"]
    assert "has no experts" in found["mixture of experts"]
    assert "None of the 12 parameters of model.npz is a bias" in found["bias"]


def test_every_command_of_a_topic_runs(tmp_path):
    np.savez(tmp_path / "model.npz", kernel=np.ones((4, 4), "float32"))
    topics = [*ex.explain("gpt2").topics, *ex.explain(tmp_path / "model.npz").topics]
    for command in {topic.command for topic in topics} - {"explorer train linear"}:
        program, *arguments = shlex.split(command)
        assert program == "explorer"
        assert run(*arguments).returncode == 0, command


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_lines_fit(width):
    for found in (ex.explain("llama-3.1-8b"), ex.explain("gpt2", "lora")):
        lines = text_of(explanation_document(found), width).splitlines()
        assert max(map(len, lines)) <= width


def test_an_unknown_word_names_the_nearest():
    with pytest.raises(InputError) as error:
        ex.explain("gpt2", "grdient")
    assert str(error.value).startswith(
        "grdient: is not a word that is explained; expected one of"
    )
    assert str(error.value).endswith("did you mean gradient?")


def test_one_argument_is_a_word_or_a_target():
    assert "llama-3.1-8b: What is a bias?" in run("explain", "bias").stdout
    assert run("explain", "gpt2").stdout.startswith("gpt2\n")
    assert "did you mean gradient?" in run("explain", "grdient").stderr
    assert "did you mean llama-2-7b?" in run("explain", "lama-2-7b").stderr


def test_what_is_neither_a_word_nor_a_target_is_said_to_be_neither():
    done = run("explain", "qqqqqqq")
    assert (done.returncode, done.stdout) == (2, "")
    assert "qqqqqqq: is neither a word that is explained nor a target; expected one of" in (
        done.stderr
    )
    assert "is neither a word" not in run("explain", "no_such.safetensors").stderr


def test_csv_has_the_figures_of_a_topic_or_the_topics():
    def rows(*args: str) -> list[dict[str, str]]:
        return list(csv.DictReader(run("explain", "gpt2", *args).stdout.splitlines()))

    values = {row["figure"]: row["value"] for row in rows("bias", "--format", "csv")}
    assert values == {"biases of gpt2": "102144"}
    assert rows("bias", "--csv") == [
        {
            "figure": "biases of gpt2",
            "amount": "102144",
            "note": "inferred (roles by name)",
        }
    ]
    assert [row["topic"] for row in rows("--csv")] == list(TOPICS)


def test_a_folder_called_model_is_named_with_the_one_above_it(tmp_path):
    place = tmp_path / "minilm" / "model"
    place.mkdir(parents=True)
    save_file({"w": np.ones((4, 3), "float32")}, place / "model.safetensors")
    brief = ex.explain(place, "bias").topics[0].brief
    assert "None of the 12 parameters of minilm/model is a bias" in brief


def test_json_is_the_record():
    printed = json.loads(run("explain", "gpt2", "bias", "--format", "json").stdout)
    assert printed == ex.explain("gpt2", "bias").to_dict()


def test_no_array_library_is_loaded():
    code = (
        "import sys, explorer as ex; ex.explain('gpt2'); ex.explain('gpt2', 'lora')\n"
        "sys.exit(bool({'jax', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
