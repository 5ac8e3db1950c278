"""What the result of reading a file depends on, beside the file."""

import pytest

from xray_tl.data.films import reading as film_reading
from xray_tl.data.films.reading import Reading

READING = Reading(32, "pad", "range")


def test_a_decoder_that_is_only_there_to_import_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = film_reading.decoder_identity(READING)
    monkeypatch.setattr(film_reading, "find_spec", lambda name: name == "gdcm" or None)
    assert film_reading.decoder_identity(READING) != before
