"""A subject and a variation -> the subject that is planned instead."""

from explorer.architectures.resolve import ResolvedArchitecture, inventory_of
from explorer.errors import InputError
from explorer.sizing.records import Variation
from explorer.sizing.subject import Subject
from explorer.sizing.variations.structure import varied

__all__ = ["varied_subject"]


def varied_subject(subject: Subject, change: Variation) -> Subject:
    """Return a subject with another structure, as no published file has it.

    Raises:
        InputError: nothing says what its layers are, or the change has no place in it.
    """
    structural = (change.layers, change.vocab, change.experts) != (None, None, None)
    if not structural and not change.untie:
        return subject
    if subject.architecture is None:
        raise InputError(
            subject.name,
            found="has no architecture to change",
            expected="a name of `explorer catalog`, a config.json, or a folder with one",
        )
    architecture = varied(subject.architecture, change)
    inventory = inventory_of(ResolvedArchitecture(architecture, subject.name))
    return Subject(subject.name, inventory, architecture)
