"""What ends its process, as a fault in a decoder does; apart from the tests, that processes start fast."""

import os
from pathlib import Path

from xray_tl.data.films.decoded import _facts
from xray_tl.data.films.reading import Reading


def end_or_name(number: int) -> str:
    """End the process at some numbers."""
    if number % 50 == 17:
        os._exit(139)
    return f"read {number}"


def facts_of_all_but_one(path: str, reading: Reading, *, keep: bool) -> object:
    """Decode a file as ever; end the process at one of them."""
    if Path(path).name.startswith("00007"):
        os._exit(139)
    return _facts(path, reading, keep=keep)
