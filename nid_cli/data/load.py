"""From a data set's name and parameters to its tensors."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from nid_cli.data.catalog import TRAIN_SIZE, Parameters, entry
from nid_cli.data.tensors import Data, RawData, split_validation
from nid_cli.errors import UsageError


def load(name: str, parameters: Parameters, folder: Path) -> Data:
    """The data set as tensors in memory.

    Args:
        name: a name of the catalogue.
        parameters: resolved parameters (``catalog.resolve_parameters``).
        folder: where downloaded data sets live (torchvision's layout).

    Raises:
        NotFoundError: the files are not in ``folder`` and cannot be downloaded.
        UsageError: ``train-size`` exceeds the training split.
    """
    module, function = entry(name).loader.split(":")
    loader: Callable[[Parameters, Path], RawData] = getattr(importlib.import_module(module), function)
    raw = loader(parameters, folder)
    train, val = split_validation(raw.train)
    if size := parameters.get(TRAIN_SIZE):
        if size > len(train):
            raise UsageError(f"train-size {size} exceeds the {len(train)} training samples of {name}")
        train = train.take(slice(0, int(size)))
    return Data(train, val, raw.test, raw.normalization)
