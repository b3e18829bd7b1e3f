"""Image folders: a folder a class, resized once and cached as one byte tensor beside them."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from nid_cli.data.catalog import Parameters
from nid_cli.data.tensors import Normalization, RawData, Split
from nid_cli.errors import NidError, NotFoundError, UsageError
from nid_cli.files import write_atomic

NAME = "image-folder"
PARTS = ("train", "test")


def load_image_folder(parameters: Parameters, folder: Path) -> RawData:
    """``image-folder/train/CLASS/*`` and ``image-folder/test/CLASS/*`` below ``folder``, as 3 x size x size bytes.

    Standardized by the training set's statistics of each channel.

    Raises:
        NotFoundError: the folders or their classes are not there. UsageError: the classes are not as many as said.
    """
    root, size = folder / NAME, int(parameters["size"])
    parts = [_listing(root / part) for part in PARTS]
    classes = parts[0].classes
    if parts[1].classes != classes:
        raise NotFoundError(f"the classes of {root / 'train'} and {root / 'test'} differ", "give both the same folders")
    if len(classes) != parameters["classes"]:
        raise UsageError(
            f"{root} has {len(classes)} classes, not {parameters['classes']:g}", f"--data classes={len(classes)}"
        )
    train, test = (
        Split(_images(part, root, name, size), torch.tensor(part.targets))
        for name, part in zip(PARTS, parts, strict=True)
    )
    mean, deviation = _statistics(train.inputs)
    return RawData(train, test, Normalization(255.0, mean, deviation), augmented=bool(parameters["augment"]))


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


def _images(part: Any, root: Path, part_name: str, size: int) -> torch.Tensor:
    """N x 3 x size x size bytes, from the cache where no picture has changed since."""
    listing = [
        (os.path.relpath(path, root), os.stat(path).st_size, os.stat(path).st_mtime_ns) for path, _ in part.samples
    ]
    name = hashlib.sha256(repr((size, listing)).encode()).hexdigest()[:16]
    kind = f".cache-{part_name}-{size}"
    cache = root / f"{kind}-{name}.safetensors"
    try:
        return load(cache.read_bytes())["images"]
    except (OSError, SafetensorError, KeyError):
        images = torch.stack([_image(path, size) for path, _ in part.samples])
    with suppress(NidError):  # a folder that cannot be written goes without
        write_atomic(cache, save({"images": images}))
    for old in set(root.glob(f"{kind}-*.safetensors")) - {cache}:
        old.unlink(missing_ok=True)
    return images


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
