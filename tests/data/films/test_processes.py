"""A process that ends costs the call that ended it, and no other."""

import os

from tests.data.films.ending import end_or_name
from xray_tl.data.films.processes import LOST, alone, mapping


def test_a_process_that_ends_costs_one_call() -> None:
    numbers = list(range(70))
    with mapping(len(numbers), 2) as do:
        first, second = do(end_or_name, numbers), do(end_or_name, [number + 1 for number in numbers])
        for found, shift in ((first, 0), (second, 1)):
            expected = [LOST if (n + shift) % 50 == 17 else f"read {n + shift}" for n in numbers]
            assert list(found) == expected


def test_what_is_done_alone_is_done_elsewhere() -> None:
    assert alone(os.getpid) != os.getpid()
    assert alone(os.abort) == LOST
