"""Augmentation of raw training batches: horizontal flips and crops of the padded image (docs/science.md, 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

PADDING = 4


def flip_and_crop(images: Tensor, generator: Generator) -> Tensor:
    """Each image flipped with probability 1/2, then cropped back to its size at random from 4 zero pixels around it.

    Args:
        images: N x C x H x W, as they are stored (zero is black).
        generator: on the CPU; all that is random is drawn from it.
    """
    return moved(images, draw_moves(len(images), generator).to(images.device))


def draw_moves(count: int, generator: Generator) -> Tensor:
    """How ``count`` images move (3 x count): whether flipped (0 or 1), and where the crop begins (row, column)."""
    flipped = torch.rand(count, generator=generator) < 0.5
    corner = torch.randint(2 * PADDING + 1, (2, count), generator=generator)
    return torch.cat((flipped[None].long(), corner))


def moved(images: Tensor, moves: Tensor) -> Tensor:
    """The images, each moved as :func:`draw_moves` drew (on the same device)."""
    count, _, height, width = images.shape
    device = images.device
    flipped, down, right = moves
    rows = down[:, None] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(count, width)
    columns = torch.where(flipped[:, None] > 0, columns.flip(1), columns) + right[:, None]
    padded = F.pad(images, (PADDING, PADDING, PADDING, PADDING))
    index = torch.arange(count, device=device)[:, None, None]
    # Advanced indices around the channels' slice put them last.
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
