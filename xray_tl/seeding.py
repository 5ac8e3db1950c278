"""Named seed streams: independent seeds for every purpose, derived from a few numbers that a user sets."""

import hashlib
import random

import numpy as np


def stream_seed(*parts: int | str) -> int:
    """Derive a 63-bit seed from a named stream, such as `stream_seed("order", seed, epoch)`.

    Different parts give independent seeds; nothing is special about zero.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_everything(*parts: int | str) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices) from a named stream."""
    import torch

    seed = stream_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (third-party code may draw from the global generator)
    torch.manual_seed(seed)
