"""What people choose, and what training then learns: hyperparameters and the steps of learning."""

from collections.abc import Iterator

from explorer.architectures.attention_specs import AttentionSpec
from explorer.explaining.facts import Facts
from explorer.explaining.learning_run import RECORDED, LearningRun
from explorer.explaining.records import Fact, Topic

__all__ = ["hyperparameter", "learning"]

# of a GGUF file's own description; the file's architecture stands before each
_METADATA = {
    "block_count": "layers",
    "embedding_length": "width",
    "attention.head_count": "attention heads",
    "attention.head_count_kv": "heads of keys and values",
    "feed_forward_length": "width of the feed-forward layers",
    "context_length": "context window (tokens)",
    "expert_count": "experts in a layer",
    "expert_used_count": "experts that a token uses",
}


def hyperparameter(facts: Facts) -> Topic:
    """Return the numbers of a model that people chose."""
    chosen = tuple(_chosen(facts))
    brief = (
        "A hyperparameter is a number that people choose before training; a parameter is one that "
        "training finds. "
    )
    if chosen:
        shown = ", ".join(f"{fact.name} {fact.shown}" for fact in chosen[:6])
        brief += f"Those of {facts.name}: {shown}."
    else:
        brief += (
            f"Nothing beside {facts.name} describes it (a config.json would): only the shapes of "
            "its tensors show what was chosen."
        )
    brief += " Training has its own: learning rate, batch size, number of steps."
    details = (
        "The numbers of the model decide how many parameters there are: wider layers and more of "
        "them are more parameters, before any is learned. The context window is how many tokens it "
        "reads at once.",
        "The numbers of training decide how the parameters are found: how large a step is (learning "
        "rate), how many examples are seen at a time (batch size), how often (steps), and by which "
        "rule (the optimizer). The table has those of the run of `explorer train linear` that the "
        "topic learning follows.",
    )
    run = RECORDED
    table = (
        *chosen,
        Fact(
            "learning rate (of train linear)", run.learning_rate, f"{run.learning_rate:g}"
        ),
        Fact("batch size (of train linear)", run.points, f"{run.points:,}"),
        Fact("steps (of train linear)", run.steps, f"{run.steps:,}"),
    )
    what_if = facts.architecture is not None and facts.architecture.num_layers > 1
    layers = facts.architecture.num_layers // 2 if facts.architecture and what_if else 0
    return Topic(
        word="hyperparameter", question="What is the difference to a hyperparameter?", brief=brief,
        details=details, facts=table,
        command=facts.command("plan", f"--layers {layers}") if layers
        else "explorer train linear --settings",
    )  # fmt: skip


def _chosen(facts: Facts) -> Iterator[Fact]:
    for name, number in _numbers(facts):
        yield Fact(name, number, f"{number:,}")


def _numbers(facts: Facts) -> Iterator[tuple[str, int]]:
    architecture = facts.architecture
    if architecture is None:
        yield from _of_metadata(facts.inventory.metadata)
        return
    yield "layers", architecture.num_layers
    yield "width", architecture.size
    block = next(architecture.blocks(), None)
    if block is not None:
        yield "attention heads", block.attention.heads
        if isinstance(block.attention, AttentionSpec):
            yield "heads of keys and values", block.attention.kv_heads
    if architecture.positions:
        yield "context window (tokens)", architecture.positions
    if architecture.embed is not None:
        yield "vocabulary (tokens)", architecture.embed.rows
    if block is not None and block.mlp is not None:
        yield "width of the feed-forward layers", block.mlp.up_proj.outputs
    card = facts.inventory.card
    if card is not None and card.experts:
        yield "experts in a layer", card.experts
        yield "experts that a token uses", card.experts_per_token


def _of_metadata(metadata: dict[str, str]) -> Iterator[tuple[str, int]]:
    family = metadata.get("general.architecture", "")
    for key, name in _METADATA.items():
        text = metadata.get(f"{family}.{key}", "")
        if text.isdecimal():
            yield name, int(text)


def learning(facts: Facts, run: LearningRun = RECORDED) -> Topic:
    """Return the six steps by which parameters are learned, in the numbers of a real run."""
    last = max(run.losses)
    brief = (
        "Training repeats six steps: initialise, forward pass, loss, backpropagation, update, repeat. "
        f"`explorer train linear` does so for two parameters, the weight a and the bias b of y = a x + "
        f"b: from a = {run.first[0]:.2f}, b = {run.first[1]:.2f} it comes to a = {run.last[0]:.2f}, b "
        f"= {run.last[1]:.2f} in {run.steps:,} steps. The {facts.ledger.parameters:,} of {facts.name} "
        "are found in the same way."
    )
    x, y = run.example
    losses = ", ".join(
        f"{loss:.3g} before step {step}" for step, loss in run.losses.items()
    )
    details = (
        f"1. Initialise: parameters begin as small random numbers. Here a = {run.first[0]:.4f}; b = "
        f"{run.first[1]:g}, as biases usually begin with zero.",
        f"2. Forward pass: the model computes its answer. For x = {x:.4f} it says y = a x + b = "
        f"{run.predicted:.4f}.",
        f"3. Loss: one number says how wrong the answers are. The example says y = {y:.4f}; the mean "
        f"squared difference over {run.points:,} examples is {run.losses[1]:.4f}.",
        f"4. Backpropagation: the derivative of the loss by each parameter, the gradient, says how "
        f"much each contributed to the error: {run.gradient[0]:.4f} for a, {run.gradient[1]:.4f} for "
        "b.",
        f"5. Update: each parameter moves against its gradient, by the learning rate "
        f"{run.learning_rate:g} times it (gradient descent): a becomes {run.second[0]:.4f}, b "
        f"{run.second[1]:.4f}.",
        f"6. Repeat: the loss is {losses}. After step {last:,}, a = {run.last[0]:.6f} and b = "
        f"{run.last[1]:.6f}; the best line by least squares has {run.fitted[0]:.6f} and "
        f"{run.fitted[1]:.6f}.",
        "A language model does this for billions of parameters: its examples are texts, its loss says "
        "how little it expected the next token, and its optimizer is mostly Adam, a refined gradient "
        "descent (SGD) that keeps two further numbers for each parameter.",
    )
    table = tuple(
        Fact(f"loss before step {step:,}", loss, f"{loss:.4g}")
        for step, loss in run.losses.items()
    )
    return Topic(
        word="learning", question="How are parameters learned?", brief=brief, details=details,
        facts=table, command="explorer train linear",
    )  # fmt: skip
