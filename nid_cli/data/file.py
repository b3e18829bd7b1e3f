"""Files of tensors as data sets: read, checked, and named by what they hold. No torch.

``FILE.safetensors`` or ``FILE.npz`` with ``train_inputs, train_targets, test_inputs, test_targets`` (and ``val_inputs,
val_targets``). Registries keep them in one form: the same tensors are the same data set whatever file held them.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nid_cli.data.catalog import CATALOG, ENDINGS, VAL_SHARE, measures_of, resolve_common
from nid_cli.errors import IntegrityError, NotFoundError, UsageError, unknown
from nid_cli.files import sha256
from nid_cli.specs import DataSpec, Measures

REQUIRED = ("train_inputs", "train_targets", "test_inputs", "test_targets")
OPTIONAL = ("val_inputs", "val_targets")
# A target that is not counted, of a data set with a class for each position.
UNCOUNTED = -100
NAME = re.compile(r"\w[\w.,+=@-]{0,59}")

Arrays = dict[str, np.ndarray]


class DataFile(NamedTuple):
    """A data set's specification, and its tensors as registries keep them."""

    spec: DataSpec
    content: bytes


def read(path: Path, given: Mapping[str, object] | None = None) -> DataFile:
    """Reads a file of tensors and holds it against what a data set is.

    Args:
        given: parameters that every data set takes (``train-size``, ``val-share``).

    Raises:
        NotFoundError: no such file. UsageError: one sentence on what is wrong with it.
    """
    if not NAME.fullmatch(path.stem) or path.stem in CATALOG:
        why = "a data set of nid's own is called so" if path.stem in CATALOG else "it has blanks or odd letters"
        raise UsageError(f"{path.stem!r} cannot be the name of a data set: {why}", "give the file another name")
    arrays = {name: _plain(name, array, path) for name, array in _read(path).items()}
    parameters = resolve_common(path.stem, given or {})
    if VAL_SHARE in parameters and "val_inputs" in arrays:
        raise UsageError(f"{path} has validation samples of its own, so it takes no val-share")
    measured = _measure(arrays, path)
    content = save(dict(sorted(arrays.items())))
    spec = DataSpec(
        name=path.stem,
        parameters=parameters,
        content=sha256(content),
        input_shape=measured.shape,
        outputs=measured.outputs,
        targets=measured.targets,
        positions=measured.positions,
        vocabulary=measured.vocabulary,
    )
    return DataFile(spec, content)


def _read(path: Path) -> Arrays:
    if path.suffix not in ENDINGS:
        raise UsageError(f"{path} ends in neither {' nor '.join(ENDINGS)}")
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                found = {name: archive[name] for name in archive.files}
        else:
            found = load(path.read_bytes())
    except (ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        if "Object arrays" in str(error):
            raise UsageError(
                f"{path} holds arrays of Python objects, which could run code", "save arrays of numbers alone"
            ) from None
        raise UsageError(f"{path} cannot be read: {_first_line(error)}") from None
    except SafetensorError as error:
        raise UsageError(f"{path} is no safetensors file: {_first_line(error)}") from None
    _complete(found, path)
    return found


def hold(content: bytes, spec: DataSpec) -> None:
    """Holds tensors as a registry keeps them against the specification of their data set.

    Raises:
        IntegrityError: they are not such tensors, or others than it says.
    """
    path = Path(spec.name)
    try:
        arrays = load(content)
        _complete(arrays, path)
        plain = all(array.dtype in (np.float32, np.int64) for array in arrays.values())
        if not plain or _measure(arrays, path) != measures_of(spec):
            raise IntegrityError(f"the tensors kept for the data set {spec.name} are not those that its models fit")
    except SafetensorError as error:
        raise IntegrityError(f"what is kept for the data set {spec.name} is no safetensors file: {error}") from None
    except UsageError as error:
        raise IntegrityError(error.message) from None


def _complete(found: Arrays, path: Path) -> None:
    if missing := [name for name in REQUIRED if name not in found]:
        raise UsageError(f"{path} lacks {missing[0]}", f"a data set has {', '.join(REQUIRED)}; it may have val_*")
    if surplus := sorted(found.keys() - {*REQUIRED, *OPTIONAL}):
        raise unknown(f"tensor in {path}:", surplus[0], (*REQUIRED, *OPTIONAL))
    if len(found.keys() & {*OPTIONAL}) == 1:
        raise UsageError(f"{path} has one of val_inputs and val_targets without the other")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _plain(name: str, array: np.ndarray, path: Path) -> np.ndarray:
    """Numbers as float32, whole numbers as int64."""
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            single = np.ascontiguousarray(array, dtype=np.float32)
        if not np.isfinite(single).all():
            raise UsageError(f"{name} of {path} holds numbers that are not finite (as float32)")
        return single
    whole = array.dtype.kind in "iu" and (name.endswith("targets") or array.dtype.itemsize >= 4)
    if not whole:
        raise UsageError(
            f"{name} of {path} is {array.dtype}, neither floating-point numbers nor int64",
            "give pictures as floats, as the network is to read them",
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def _measure(arrays: Arrays, path: Path) -> Measures:
    splits = [split for split in ("train", "val", "test") if f"{split}_inputs" in arrays]
    first, first_targets = arrays["train_inputs"], arrays["train_targets"]
    for split in splits:
        inputs, targets = arrays[f"{split}_inputs"], arrays[f"{split}_targets"]
        if inputs.ndim == 0 or targets.ndim == 0 or not len(inputs):
            raise UsageError(f"the {split} split of {path} has no samples")
        if len(inputs) != len(targets):
            raise UsageError(f"{path} has {len(inputs)} {split}_inputs but {len(targets)} {split}_targets")
        for what, own, other in (("inputs", inputs, first), ("targets", targets, first_targets)):
            if own.shape[1:] != other.shape[1:] or own.dtype != other.dtype:
                raise UsageError(
                    f"{split}_{what} of {path} are {_said(own)} a sample, but train_{what} are {_said(other)}"
                )
    targets = np.concatenate([arrays[f"{split}_targets"].reshape(-1) for split in splits])
    if first.ndim == 1:
        raise UsageError(f"train_inputs of {path} are single numbers", "give inputs an axis: N x 1")
    outputs, kind = _outputs(first_targets, targets, path)
    vocabulary = None
    if first.dtype == np.int64:
        if min(int(arrays[f"{split}_inputs"].min()) for split in splits) < 0:
            raise UsageError(f"the inputs of {path} are whole numbers, and some are below 0")
        vocabulary = 1 + max(int(arrays[f"{split}_inputs"].max()) for split in splits)
    positions = first_targets.shape[1] if kind == "positions" else None
    for split in splits if positions is not None else ():
        if (arrays[f"{split}_targets"] == UNCOUNTED).all():
            raise UsageError(f"in the {split} split of {path} no position is counted: all targets are {UNCOUNTED}")
    return Measures(tuple(first.shape[1:]), outputs, kind, vocabulary, positions)


def _outputs(one: np.ndarray, every: np.ndarray, path: Path) -> tuple[int, str]:
    if one.dtype == np.float32:
        if one.ndim != 2:
            raise UsageError(
                f"the targets of {path} are {_said(one)} a sample; floating-point targets are N x K labels",
                "classes are whole numbers",
            )
        if not ((every == 0) | (every == 1)).all():
            raise UsageError(f"the targets of {path} are labels, but not all of them are 0 or 1")
        return one.shape[1], "labels"
    if one.ndim > 2:
        raise UsageError(f"the targets of {path} are {_said(one)} a sample", "classes are N, or N x T for positions")
    counted = every[every != UNCOUNTED] if one.ndim == 2 else every
    if not len(counted) or counted.min() < 0:
        raise UsageError(f"the targets of {path} are classes, and some are below 0 (or none is counted)")
    return 1 + int(counted.max()), "classes" if one.ndim == 1 else "positions"


def _said(array: np.ndarray) -> str:
    shape = "x".join(map(str, array.shape[1:])) or "single"
    return f"{shape} {'whole numbers' if array.dtype == np.int64 else 'numbers'}"
