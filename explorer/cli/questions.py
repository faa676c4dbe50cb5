"""What `explorer` alone prints: the questions that people have, and the command for each."""

from explorer.document.records import Document, Paragraph, Terms

__all__ = ["QUESTIONS", "questions_document"]

QUESTIONS = (
    ("What is in this file?", "explorer show model.safetensors"),
    ("How do I look around in it?", "explorer browse model/"),
    ("How many parameters?", "explorer count llama-2-7b model.gguf"),
    ("Is 8B the number of tensors?", "explorer explain tensor"),
    ("What is a bias?", "explorer explain bias"),
    ("How much memory at 4 bits?", "explorer plan llama-3.1-8b --quantize Q4_K_M"),
    ("Does it fit my laptop?", "explorer plan llama-3.1-8b --device laptop-16gb"),
    ("Which models are known?", "explorer catalog 8B"),
    ("Which parameter does what?", "explorer roles gpt2"),
    ("What do its numbers look like?", "explorer stats model/"),
    (
        "What changed between the two?",
        "explorer compare A B (structure), diff A B (values)",
    ),
    ("How do I make it smaller?", "explorer quantize, explorer prune"),
    ("How do I convert it?", "explorer convert model/ model.gguf"),
    ("How is a model trained?", "explorer train linear"),
    ("What is installed here?", "explorer doctor"),
)
_TITLE = "What is in this model? Tensors, parameters, weights and biases, counted right."


def questions_document() -> Document:
    """Return the questions beside the commands that answer them."""
    width = max(len(question) for question, _ in QUESTIONS)
    last = "All commands: explorer --help. Examples of one: explorer show --help"
    return Document(
        blocks=(Paragraph(_TITLE), Terms(QUESTIONS, width, commands=True), Paragraph(last))
    )
