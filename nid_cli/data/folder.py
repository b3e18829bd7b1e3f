"""Image folders: a folder a class, resized once and cached as one byte tensor beside them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

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
    parts = [_listing(root / part) for part in PARTS]
    classes = parts[0].classes
    if parts[1].classes != classes:
        raise NotFoundError(f"the classes of {root / 'train'} and {root / 'test'} differ", "give both the same folders")
    if len(classes) != parameters["classes"]:
        raise UsageError(
            f"{root} has {len(classes)} classes, not {parameters['classes']:g}", f"--data classes={len(classes)}"
        )
    train, test = (Split(_images(part, root, size), torch.tensor(part.targets)) for part in parts)
    # Sums of bytes are exact, for any number of threads.
    pixels = train.inputs.transpose(0, 1).flatten(1).to(torch.int64)
    count, totals, squares = pixels.shape[1], pixels.sum(1).tolist(), pixels.square().sum(1).tolist()
    means = [total / count for total in totals]
    deviations = [max(square / count - mean * mean, 1.0) ** 0.5 for square, mean in zip(squares, means, strict=True)]
    scaled = tuple(m / 255 for m in means), tuple(d / 255 for d in deviations)
    return RawData(train, test, Normalization(255.0, *scaled), augmented=bool(parameters["augment"]))


def _listing(path: Path) -> Any:
    from torchvision.datasets import ImageFolder

    try:
        return ImageFolder(path)
    except OSError as error:
        raise NotFoundError(
            f"the data set {NAME} is not there: {error}",
            f"put the pictures into {path}/CLASS/ and its neighbours, or name the folder above {NAME} with --data-dir",
        ) from None


def _images(part: Any, root: Path, size: int) -> torch.Tensor:
    """N x 3 x size x size bytes, from the cache where no picture has changed since."""
    listing = [
        (os.path.relpath(path, root), os.stat(path).st_size, os.stat(path).st_mtime_ns) for path, _ in part.samples
    ]
    name = hashlib.sha256(repr((size, listing)).encode()).hexdigest()[:16]
    cache = root / f".cache-{size}-{name}.safetensors"
    try:
        return load(cache.read_bytes())["images"]
    except (OSError, SafetensorError, KeyError):
        images = torch.stack([_image(path, size) for path, _ in part.samples])
    _keep(cache, save({"images": images}))
    return images


def _image(path: str, size: int) -> torch.Tensor:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert("RGB").resize((size, size)))).permute(2, 0, 1)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise NidError(f"the picture {path} cannot be read: {error}", "remove or replace it") from None


def _keep(path: Path, content: bytes) -> None:
    """Writes the cache, whole or not at all; a folder that cannot be written goes without."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
