"""Records for other programs: integers stay exact, whatever a name holds."""

import json

from explorer.document.csv import csv_of
from explorer.document.markdown import markdown_of
from explorer.views.exports import json_text, records_document


def test_integers_beyond_64_bits_are_exact():
    assert json.loads(json_text({"parameters": 5 * 2**62}))["parameters"] == 5 * 2**62
    assert csv_of(records_document([{"parameters": 5 * 2**62}])).endswith(str(5 * 2**62))


def test_nothing_is_an_empty_table():
    assert csv_of(records_document([])) == markdown_of(records_document([])) == ""


def test_half_a_surrogate_pair_is_escaped():
    """Python keys may hold what UTF-8 cannot; JSON can spell it."""
    record = {"path": "a\ud800", "count": 5 * 2**62}
    assert json.loads(json_text(record)) == record
    document = records_document([record])
    assert "\ud800" not in csv_of(document) + markdown_of(document)
