"""Reproducible arithmetic: results do not depend on the number of threads or the batch, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Run torch in one thread and with matrix products of full precision; also usable as a decorator.

    Torch divides the elements of an operation among threads, and computes the last few elements of each part
    in scalar instead of vector code, which rounds differently: an image would depend on the number of threads
    and on its position in the batch. Use `side_by_side`, or processes, on several cores. Training may allow
    matrix products of reduced precision, which must not affect the images either.
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
    """Compute a function of each image in all of torch's threads; the result does not depend on the threads.

    Args:
        compute: Indices of images [B] -> result for each [B, ...].
        count: Number of images.
        at_once: B, the number of images that a thread computes at a time.
        device: Device of the computation: for an accelerator one thread is used.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    # The setting holds for the whole process: one thread per operation until the last image is done.
    with exact_arithmetic(), ThreadPoolExecutor(threads) as pool:
        return torch.cat(list(pool.map(compute, torch.split(torch.arange(count), at_once))))


def _set(threads: int, precision: str) -> None:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if torch.get_float32_matmul_precision() != precision:
        torch.set_float32_matmul_precision(precision)
