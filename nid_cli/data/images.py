"""Image data sets through torchvision, which downloads and verifies them; kept as bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from nid_cli.data.catalog import Parameters
from nid_cli.data.tensors import Normalization, RawData, Split
from nid_cli.errors import NidError, NotFoundError


def _open(dataset: Any, folder: Path, name: str, files: str) -> tuple[Any, Any]:
    """Training and test set from ``folder``, downloaded where they are not there and a network is."""
    try:
        return tuple(dataset(folder, train=train, download=False) for train in (True, False))
    except (RuntimeError, OSError, ValueError, AssertionError, EOFError) as error:
        # Torchvision's words for files that are missing (or, for CIFAR, fail their checksum).
        if "not found" not in str(error):
            reason = str(error).strip() or "not the bytes of its format"
            raise NidError(f"the files of {name} in {folder} are damaged: {reason}", f"replace {files}") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(dataset(folder, train=train, download=True) for train in (True, False))
    except (RuntimeError, OSError) as error:
        raise NotFoundError(
            f"the data set {name} is not in {folder} and could not be downloaded "
            f"({(str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(':')})",
            f"put {files} into that folder, or name the folder that has them with --data-dir or NID_DATA_DIR; "
            "--dataset digits needs no files",
        ) from None


def _grey(dataset: Any, folder: Path, name: str, mean: float, std: float) -> RawData:
    raw = f"{dataset.__name__}/raw/"
    parts = _open(dataset, folder, name, f"{raw}train-images-idx3-ubyte and the other three files of {raw}")
    train, test = (Split(part.data.unsqueeze(1), part.targets.to(torch.int64)) for part in parts)
    return RawData(train, test, Normalization(255.0, (mean,), (std,)))


def load_mnist(parameters: Parameters, folder: Path) -> RawData:
    """60,000 + 10,000 x 1 x 28 x 28 bytes; the reference code's normalization."""
    from torchvision.datasets import MNIST

    return _grey(MNIST, folder, "mnist", 0.1307, 0.3081)


def load_fashion_mnist(parameters: Parameters, folder: Path) -> RawData:
    """60,000 + 10,000 x 1 x 28 x 28 bytes."""
    from torchvision.datasets import FashionMNIST

    return _grey(FashionMNIST, folder, "fashion-mnist", 0.2860, 0.3530)


def _cifar(dataset: Any, parameters: Parameters, folder: Path, name: str, mean: Any, std: Any) -> RawData:
    parts = _open(dataset, folder, name, f"the unpacked archive {dataset.base_folder}/")
    train, test = (
        Split(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
        for part in parts
    )
    return RawData(train, test, Normalization(255.0, mean, std), augmented=bool(parameters["augment"]))


def load_cifar10(parameters: Parameters, folder: Path) -> RawData:
    """50,000 + 10,000 x 3 x 32 x 32 bytes; torchvision checks their MD5 before it reads them."""
    from torchvision.datasets import CIFAR10

    mean, std = (0.4917, 0.4823, 0.4467), (0.2471, 0.2435, 0.2616)
    return _cifar(CIFAR10, parameters, folder, "cifar10", mean, std)


def load_cifar100(parameters: Parameters, folder: Path) -> RawData:
    """50,000 + 10,000 x 3 x 32 x 32 bytes; torchvision checks their MD5 before it reads them."""
    from torchvision.datasets import CIFAR100

    mean, std = (0.5068, 0.4863, 0.4408), (0.2672, 0.2564, 0.2760)
    return _cifar(CIFAR100, parameters, folder, "cifar100", mean, std)
