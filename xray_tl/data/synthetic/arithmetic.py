"""Arithmetic whose last bits depend on nothing but its operands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Run torch in the calling thread alone, with full products; also usable as a decorator.

    Torch cuts an operation among threads wherever the number of elements happens to divide, and rounds the
    last few elements of each piece in scalar instead of vector code: an image would depend on the number of
    threads and on its place in the batch. Use `side_by_side`, or processes, on several cores. Training may
    allow matrix products of reduced precision, which must not reach the images either.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    _set(1, "highest")
    try:
        yield
    finally:
        _set(threads, precision)


def side_by_side(
    compute: Callable[[Tensor], Tensor], count: int, at_once: int, device: torch.device
) -> Tensor:
    """Compute something of each image on as many threads as torch has; its bits do not depend on them.

    Args:
        compute: Images' indices [B] -> what is made of them [B, ...].
        count: How many images there are.
        at_once: B: images that a thread does before it takes the next ones.
        device: Where that is computed: an accelerator is asked by one thread.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    # The setting is the process's: it stands at one thread an operation until the last image is done.
    with exact_arithmetic(), ThreadPoolExecutor(threads) as pool:
        return torch.cat(list(pool.map(compute, torch.split(torch.arange(count), at_once))))


def _set(threads: int, precision: str) -> None:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if torch.get_float32_matmul_precision() != precision:
        torch.set_float32_matmul_precision(precision)
