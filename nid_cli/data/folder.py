"""Image folders: one folder for each class, resized once and cached as one byte tensor beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from nid_cli.data.cache import Tensors, cached
from nid_cli.data.catalog import Parameters
from nid_cli.data.tensors import Normalization, RawData, Split
from nid_cli.errors import NidError, NotFoundError, UsageError

NAME = "image-folder"
PARTS = ("train", "test")


def load_image_folder(parameters: Parameters, folder: Path) -> RawData:
    """``image-folder/train/CLASS/*`` and ``image-folder/test/CLASS/*`` below ``folder``, as 3 x size x size bytes.

    Standardized by the training set's statistics of each channel.

    Raises:
        NotFoundError: the folders or their classes are not there. UsageError: the classes are not as many as said.
    """
    root, size = folder / NAME, int(parameters["size"])
    if missing := [root / part for part in PARTS if not (root / part).is_dir()]:
        _listing(missing[0])
    kept = [cached(f"{part}-{size}", root / part, root, partial(_read, root / part, size)) for part in PARTS]
    names = [bytes(tensors["classes"].tolist()).decode().split("\n") for tensors in kept]
    if names[0] != names[1]:
        raise NotFoundError(f"the classes of {root / 'train'} and {root / 'test'} differ", "give both the same folders")
    if len(names[0]) != parameters["classes"]:
        raise UsageError(
            f"{root} has {len(names[0])} classes, not {parameters['classes']:g}", f"--data classes={len(names[0])}"
        )
    train, test = (Split(tensors["images"], tensors["targets"]) for tensors in kept)
    mean, deviation = _statistics(train.inputs)
    return RawData(train, test, Normalization(255.0, mean, deviation), augmented=bool(parameters["augment"]))


def _read(part: Path, size: int) -> Tensors:
    """The pictures of one part (N x 3 x size x size bytes), their classes, and the classes' names, one on each line."""
    listing = _listing(part)
    return {
        "images": torch.stack([_image(path, size) for path, _ in listing.samples]),
        "targets": torch.tensor(listing.targets),
        "classes": torch.tensor(list("\n".join(listing.classes).encode()), dtype=torch.uint8),
    }


def _statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of values scaled to 0..1; from counts, which are exact."""
    values = torch.arange(256, dtype=torch.float64)
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = sum(torch.bincount(part[:, channel].flatten(), minlength=256) for part in images.split(256))
        shares = torch.as_tensor(counts, dtype=torch.float64) / (images.numel() / images.shape[1])
        mean = float(shares @ values)
        variance = float(shares @ (values - mean).square())
        means.append(mean / 255)
        deviations.append(max(variance, 1.0) ** 0.5 / 255)
    return tuple(means), tuple(deviations)


def _listing(path: Path) -> Any:
    from torchvision.datasets import ImageFolder

    try:
        return ImageFolder(path)
    except OSError as error:
        raise NotFoundError(
            f"the data set {NAME} is not there: {error}",
            f"put the pictures into {path}/CLASS/ and its neighbours, or name the folder above {NAME} with --data-dir",
        ) from None


def _image(path: str, size: int) -> torch.Tensor:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise NidError(f"the picture {path} has more than 8 bits a channel", "convert it to 8 bits first")
            return torch.from_numpy(np.array(image.convert("RGB").resize((size, size)))).permute(2, 0, 1)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise NidError(f"the picture {path} cannot be read: {error}", "remove or replace it") from None
