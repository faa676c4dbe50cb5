"""Small models to size, of the families' tiny configs."""

from typing import Any

from explorer.architectures.resolve import inventory_of, resolve
from explorer.sizing.subject import Subject
from tests.models.tiny import CONFIGS

__all__ = ["CONFIGS", "published", "subject_of"]


def published(name: str) -> Subject:
    """Return a model of the catalogue."""
    return _subject(name, name)


def subject_of(name: str) -> Subject:
    """Return a model of a family's tiny config."""
    return _subject(name, CONFIGS[name])


def _subject(name: str, target: Any) -> Subject:
    known = resolve(target)
    return Subject(name, inventory_of(known), known.architecture)
