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
    count, _, height, width = images.shape
    device = images.device
    flipped = torch.rand(count, generator=generator) < 0.5
    down, right = torch.randint(2 * PADDING + 1, (2, count), generator=generator).to(device)
    rows = down[:, None] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(count, width)
    columns = torch.where(flipped.to(device)[:, None], columns.flip(1), columns) + right[:, None]
    padded = F.pad(images, (PADDING, PADDING, PADDING, PADDING))
    index = torch.arange(count, device=device)[:, None, None]
    # Advanced indices around the channels' slice put them last.
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
