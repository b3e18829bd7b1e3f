"""From a data set's name and parameters to its tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load as from_bytes

from nid_cli.data.catalog import TRAIN_SIZE, VAL_SHARE, Parameters, entry
from nid_cli.data.file import UNCOUNTED
from nid_cli.data.tensors import Data, RawData, Split, split_validation
from nid_cli.errors import UsageError
from nid_cli.lazy import resolve
from nid_cli.specs import canonical_json


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
    loader: Callable[[Parameters, Path], RawData] = resolve(entry(name).loader)
    return _finished(name, parameters, loader(parameters, folder))


def load_content(name: str, parameters: Parameters, content: bytes) -> Data:
    """A file of tensors (``data.file``) as data in memory.

    Args:
        content: the tensors as registries keep them.

    Raises: see :func:`load`.
    """
    tensors = from_bytes(content)
    train, test = (Split(tensors[f"{part}_inputs"], tensors[f"{part}_targets"]) for part in ("train", "test"))
    val = Split(tensors["val_inputs"], tensors["val_targets"]) if "val_inputs" in tensors else None
    return _finished(name, parameters, RawData(train, test, val=val))


def _counts_positions(split: Split) -> bool:
    return split.targets.ndim == 2 and not split.targets.is_floating_point()


def _finished(name: str, parameters: Parameters, raw: RawData) -> Data:
    # A copy, as the others are: else it alone would keep the whole of a mapped file in memory.
    test = Split(raw.test.inputs.clone(), raw.test.targets.clone())
    train, val = raw.train, raw.val
    if val is None:
        train, val = split_validation(raw.train, parameters.get(VAL_SHARE, 0.1))
    if size := parameters.get(TRAIN_SIZE):
        if size > len(train):
            raise UsageError(f"train-size {size} exceeds the {len(train)} training samples of {name}")
        train = train.take(slice(0, int(size)))
    if empty := [part for part, split in (("validation", val), ("test", test), ("training", train)) if not len(split)]:
        raise UsageError(f"the {empty[0]} split of {name} is empty", "--data val-share=0.2, or more data, fills it")
    for part, split in (("validation", val), ("test", test), ("training", train)):
        if _counts_positions(split) and bool((split.targets == UNCOUNTED).all()):
            raise UsageError(f"in the {part} split of {name} no position is counted: all targets are {UNCOUNTED}")
    identity = None
    if raw.generator is not None:
        identity = canonical_json({"name": name, "parameters": dict(parameters), "generator": raw.generator})
    return Data(train, val, test, raw.normalization, identity, raw.augmented, raw.constants)
