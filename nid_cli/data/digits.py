"""scikit-learn's 1,797 handwritten digits: always there, no download (docs/science.md, 10)."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from nid_cli.data.catalog import Parameters
from nid_cli.data.tensors import Normalization, RawData, Split, split_validation


def load_digits(parameters: Parameters, folder: Path) -> RawData:
    """1,797 x 1 x 8 x 8 bytes in 0..16; 20 % test, drawn with a fixed seed; standardized by the training statistics."""
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    images = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)
    whole = Split(images, torch.from_numpy(bunch.target).to(torch.int64))
    rest, test = split_validation(whole, share=0.2, seed=0)
    train, _ = split_validation(rest)
    # Whole sums are exact: the statistics are the same on every machine, for any number of threads.
    pixels = train.inputs.to(torch.int64)
    count, total, squares = pixels.numel(), int(pixels.sum()), int(pixels.square().sum())
    mean, variance = total / count, (squares - total * total / count) / (count - 1)
    return RawData(rest, test, Normalization(16.0, (mean / 16,), (math.sqrt(variance) / 16,)))
