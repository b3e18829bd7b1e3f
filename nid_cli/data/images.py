"""Image data sets through torchvision, which downloads and verifies them; kept as bytes once they were read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from nid_cli.data.cache import Tensors, cached, users_cache
from nid_cli.data.catalog import Parameters
from nid_cli.data.tensors import Normalization, RawData, Split
from nid_cli.errors import NidError, NotFoundError
from nid_cli.lazy import resolve

PARTS = ("train", "test")


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


def _splits(tensors: Tensors) -> tuple[Split, Split]:
    train, test = (Split(tensors[f"{part}_inputs"], tensors[f"{part}_targets"]) for part in PARTS)
    return train, test


def _grey(name: str, dataset: str, folder: Path, mean: float, std: float) -> RawData:
    """One of torchvision's data sets in MNIST's format, ``dataset`` being its class and its folder."""
    raw = f"{dataset}/raw/"

    def read() -> Tensors:
        files = f"{raw}train-images-idx3-ubyte and the other three files of {raw}"
        parts = _open(resolve(f"torchvision.datasets:{dataset}"), folder, name, files)
        tensors = {}
        for part, known in zip(PARTS, parts, strict=True):
            tensors[f"{part}_inputs"] = known.data.unsqueeze(1)
            tensors[f"{part}_targets"] = known.targets.to(torch.int64)
        return tensors

    train, test = _splits(cached(name, folder / raw, users_cache(), read))
    return RawData(train, test, Normalization(255.0, (mean,), (std,)))


def load_mnist(parameters: Parameters, folder: Path) -> RawData:
    """60,000 + 10,000 x 1 x 28 x 28 bytes; the reference code's normalization."""
    return _grey("mnist", "MNIST", folder, 0.1307, 0.3081)


def load_fashion_mnist(parameters: Parameters, folder: Path) -> RawData:
    """60,000 + 10,000 x 1 x 28 x 28 bytes."""
    return _grey("fashion-mnist", "FashionMNIST", folder, 0.2860, 0.3530)


def _cifar(name: str, below: str, parameters: Parameters, folder: Path, mean: Any, std: Any) -> RawData:
    """CIFAR, which torchvision reads from the folder ``below``."""

    def read() -> Tensors:
        parts = _open(resolve(f"torchvision.datasets:{name.upper()}"), folder, name, f"the unpacked archive {below}/")
        tensors = {}
        for part, known in zip(PARTS, parts, strict=True):
            tensors[f"{part}_inputs"] = torch.from_numpy(known.data).permute(0, 3, 1, 2).contiguous()
            tensors[f"{part}_targets"] = torch.tensor(known.targets)
        return tensors

    train, test = _splits(cached(name, folder / below, users_cache(), read))
    return RawData(train, test, Normalization(255.0, mean, std), augmented=bool(parameters["augment"]))


def load_cifar10(parameters: Parameters, folder: Path) -> RawData:
    """50,000 + 10,000 x 3 x 32 x 32 bytes; torchvision checks their MD5 before it reads them."""
    mean, std = (0.4917, 0.4823, 0.4467), (0.2471, 0.2435, 0.2616)
    return _cifar("cifar10", "cifar-10-batches-py", parameters, folder, mean, std)


def load_cifar100(parameters: Parameters, folder: Path) -> RawData:
    """50,000 + 10,000 x 3 x 32 x 32 bytes; torchvision checks their MD5 before it reads them."""
    mean, std = (0.5068, 0.4863, 0.4408), (0.2672, 0.2564, 0.2760)
    return _cifar("cifar100", "cifar-100-python", parameters, folder, mean, std)
