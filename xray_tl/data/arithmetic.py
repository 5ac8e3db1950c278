"""Arithmetic whose last bits depend on nothing but its operands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Run torch in the calling thread alone, with full products; also usable as a decorator.

    Torch cuts an operation among threads wherever the number of elements happens to divide, and rounds the
    last few elements of each piece in scalar instead of vector code: an image would depend on the number of
    threads and on its place in the batch. Use processes to render on several cores. Training may allow
    matrix products of reduced precision, which must not reach the images either.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    _set(1, "highest")
    try:
        yield
    finally:
        _set(threads, precision)


def _set(threads: int, precision: str) -> None:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if torch.get_float32_matmul_precision() != precision:
        torch.set_float32_matmul_precision(precision)
