"""A lead marker, the letter L, in the corner of the image: a shortcut that is planted on purpose."""

from __future__ import annotations

import torch
from torch import Tensor

LETTER = ("10000", "10000", "10000", "10000", "10000", "10000", "11111")
TOP, LEFT, HEIGHT = 0.04, 0.04, 0.1
"""Position of its upper left corner, and its height, as shares of the image's side."""


def stamp(image: Tensor, marked: Tensor) -> Tensor:
    """Draw the white marker into the upper left corner of marked images, in place.

    Args:
        image: Images [B, H, W], in [0, 1].
        marked: Which images get the marker [B], bool.
    """
    size = image.shape[-1]
    height = max(len(LETTER), round(HEIGHT * size))
    width = max(len(LETTER[0]), round(height * len(LETTER[0]) / len(LETTER)))
    rows = torch.arange(height) * len(LETTER) // height
    columns = torch.arange(width) * len(LETTER[0]) // width
    dots = torch.tensor([[dot == "1" for dot in line] for line in LETTER])
    letter = dots[rows][:, columns].to(image.device)
    top, left = round(TOP * size), round(LEFT * size)
    corner = image[:, top : top + height, left : left + width]
    corner.masked_fill_(letter & marked[:, None, None], 1.0)
    return image
