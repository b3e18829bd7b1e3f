"""The one table of data sets: shapes, parameters with their defaults, and where the tensors come from. No torch.

A new data set is one entry here and one loader, ``loader(parameters, folder) -> RawData``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nid_cli.data import checks
from nid_cli.data.checks import Parameters
from nid_cli.data.grammar import ALPHABET
from nid_cli.errors import UsageError, unknown
from nid_cli.specs import DataSpec, Measures

Check = Callable[[Parameters], str | None]

# Every data set but graphs takes this parameter: the first N samples of its (already shuffled) training split.
TRAIN_SIZE = "train_size"
# And this one: the share of the training set that becomes the validation split (0.1 where it is not given).
VAL_SHARE = "val_share"
COMMON: dict[str, type] = {TRAIN_SIZE: int, VAL_SHARE: float}
# Of files of tensors that are data sets of their own (``data.file``).
ENDINGS = (".safetensors", ".npz")


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """One data set.

    ``shape`` and ``outputs`` give the input shape and the number of network outputs for given parameters;
    ``loader`` is ``module:function``, imported only when the data are needed. ``targets``: ``classes``, ``labels`` or
    ``positions`` (one class for each entry of the input's first axis). ``vocabulary`` and ``links``: see
    :class:`~nid_cli.specs.Measures`. ``samples``: how many there are to train on, before some are put aside for
    validation; None where a parameter says so, or only the files do.
    """

    name: str
    description: str
    loader: str
    shape: Callable[[Parameters], tuple[int, ...]]
    outputs: Callable[[Parameters], int]
    parameters: Parameters = field(default_factory=dict)
    check: Check = lambda _: None
    targets: str = "classes"
    vocabulary: Callable[[Parameters], int | None] = lambda _: None
    links: Callable[[Parameters], int | None] = lambda _: None
    samples: int | None = None


def _images(
    name: str, description: str, shape: tuple[int, ...], outputs: int, samples: int, loader: str
) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        description=description,
        loader=loader,
        shape=lambda _: shape,
        outputs=lambda _: outputs,
        samples=samples,
    )


_SAMPLES = {"samples": 50_000, "test_samples": 10_000, "d": 512}
_SEEDS = {"structure_seed": 789, "train_seed": 123, "test_seed": 456}


def _subspace(name: str, description: str, outputs: str, **own: int | float) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        description=description,
        loader=f"nid_cli.data.subspace:load_{name.split('-')[0]}",
        shape=lambda p: (int(p["d"]),),
        outputs=lambda p: int(p[outputs]),
        parameters=own | _SAMPLES | _SEEDS,
        check=checks.subspace,
        targets="labels" if outputs == "k" else "classes",
    )


def _cifar(name: str, description: str, outputs: int) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        description=description,
        loader=f"nid_cli.data.images:load_{name}",
        shape=lambda _: (3, 32, 32),
        outputs=lambda _: outputs,
        parameters={"augment": 1},
        check=checks.augment,
        samples=50_000,
    )


def _graph(name: str, description: str, loader: str, check: Check, **own: int | float) -> DatasetEntry:
    """One graph: all its nodes are one sample's positions. ``links`` are undirected ones, each counted once."""
    return DatasetEntry(
        name=name,
        description=description,
        loader=loader,
        shape=lambda p: (int(p["nodes"]), int(p["features"])),
        outputs=lambda p: int(p["classes"]),
        parameters=own,
        check=check,
        targets="positions",
        links=lambda p: 2 * int(p["links"]) + int(p["nodes"]),
    )


CATALOG: dict[str, DatasetEntry] = {
    entry.name: entry
    for entry in (
        _images("digits", "8x8 handwritten digits, embedded", (1, 8, 8), 10, 1_438, "nid_cli.data.digits:load_digits"),
        _images("mnist", "28x28 handwritten digits", (1, 28, 28), 10, 60_000, "nid_cli.data.images:load_mnist"),
        _images("fashion-mnist", "28x28 clothes", (1, 28, 28), 10, 60_000, "nid_cli.data.images:load_fashion_mnist"),
        _cifar("cifar10", "32x32 photographs of 10 kinds of things", 10),
        _cifar("cifar100", "32x32 photographs of 100 kinds of things", 100),
        DatasetEntry(
            name="image-folder",
            description="your own pictures, one folder for each class, resized",
            loader="nid_cli.data.folder:load_image_folder",
            shape=lambda p: (3, int(p["size"]), int(p["size"])),
            outputs=lambda p: int(p["classes"]),
            parameters={"size": 32, "classes": 10, "augment": 1},
            check=checks.folder,
        ),
        DatasetEntry(
            name="mnist-coherence",
            description="MNIST rotated to a chosen coherence of its principal subspace",
            loader="nid_cli.data.coherent:load_mnist_coherence",
            shape=lambda _: (784,),
            outputs=lambda _: 10,
            parameters={"coherence": 0.111, "variance": 0.9},
            check=checks.coherence,
            samples=60_000,
        ),
        _subspace("gaussian-subspace", "Gaussian classes in k dimensions", "classes", k=128, classes=20, sep=0.3),
        _subspace("parity-subspace", "parity of signs in k dimensions", "m", k=128, m=2),
        _subspace("multilabel-subspace", "signs of k latent coordinates", "k", k=50),
        DatasetEntry(
            name="grammar",
            description="characters of sentences from a small grammar of known entropy, embedded",
            loader="nid_cli.data.sentences:load_grammar",
            shape=lambda p: (int(p["length"]),),
            outputs=lambda _: len(ALPHABET),
            parameters={"samples": 4000, "test_samples": 1000, "length": 48, "train_seed": 123, "test_seed": 456},
            check=checks.grammar,
            targets="positions",
            vocabulary=lambda _: len(ALPHABET),
        ),
        _graph(
            "sbm", "nodes of a stochastic block model, embedded", "nid_cli.data.blocks:load_sbm", checks.blocks,
            nodes=600, classes=5, features=32, links=2400, ratio=8.0, noise=4.0, seed=0,
        ),
        _graph(
            "ogbn-arxiv", "papers and their citations, split by year", "nid_cli.data.arxiv:load_arxiv",
            checks.citations, nodes=169_343, classes=40, features=128, links=1_157_799,
        ),
    )
}  # fmt: skip


def entry(name: str) -> DatasetEntry:
    """The catalogue's entry.

    Raises:
        UsageError: no such data set.
    """
    if name not in CATALOG:
        raise unknown("data set", name, CATALOG)
    return CATALOG[name]


def is_data_file(name: str) -> bool:
    """Whether ``--dataset`` names a file of tensors."""
    return name.endswith(ENDINGS)


def measures_of(data: DataSpec) -> Measures:
    """Of a data set of the catalogue, or of a file as its specification has them; nothing is read.

    Raises:
        UsageError: no such data set.
    """
    if data.content is not None:
        if data.input_shape is None or data.outputs is None or data.targets is None:
            raise UsageError(f"the data set {data.name} is a file of tensors without shape, outputs or targets")
        return Measures(data.input_shape, data.outputs, data.targets, data.vocabulary, data.positions)
    known, given = entry(data.name), data.parameters
    shape = known.shape(given)
    positions = shape[0] if known.targets == "positions" else None
    return Measures(shape, known.outputs(given), known.targets, known.vocabulary(given), positions, known.links(given))


def samples_of(data: DataSpec) -> int | None:
    """About how many samples an epoch has; None where only the files tell. A graph is one.

    Raises:
        UsageError: no such data set.
    """
    if size := data.parameters.get(TRAIN_SIZE):
        return int(size)
    if data.content is not None:
        return None
    if measures_of(data).links is not None:
        return 1
    samples = data.parameters.get("samples", entry(data.name).samples)
    return None if samples is None else int(samples) - int(data.parameters.get(VAL_SHARE, 0.1) * samples)


def resolve_parameters(name: str, given: Mapping[str, object]) -> dict[str, int | float]:
    """All parameters of a data set: the defaults, overridden by ``given`` (strings or numbers; ``-`` reads as ``_``).

    Raises:
        UsageError: an unknown parameter, a value of the wrong kind, or one that the data set cannot have.
    """
    known = entry(name)
    graph = known.links(known.parameters) is not None
    if graph and any(raw.replace("-", "_") in COMMON for raw in given):
        raise UsageError(f"{name} is one graph whose nodes are split already, so it takes no train-size or val-share")
    resolved = _resolve(name, known.parameters, given, {} if graph else COMMON)
    if problem := known.check(resolved):
        raise UsageError(f"{name}: {problem}")
    return resolved


def resolve_common(name: str, given: Mapping[str, object]) -> dict[str, int | float]:
    """Those parameters that every data set takes, of a file of tensors.

    Raises:
        UsageError: see :func:`resolve_parameters`.
    """
    return _resolve(name, {}, given, COMMON)


def _resolve(
    name: str, defaults: Parameters, given: Mapping[str, object], common: Mapping[str, type]
) -> dict[str, int | float]:
    resolved = dict(defaults)
    for raw, value in given.items():
        key = raw.replace("-", "_")
        if key not in defaults and key not in common:
            raise unknown(f"parameter of {name}", raw, [k.replace("_", "-") for k in (*defaults, *common)])
        kind = type(defaults[key]) if key in defaults else common[key]
        try:
            number = kind(str(value))
        except ValueError:
            noun = "a whole number" if kind is int else "a number"
            raise UsageError(f"{raw} must be {noun}, not {str(value)!r}") from None
        if number != number or number < 0 or number in (float("inf"),) or (key == TRAIN_SIZE and number < 1):
            raise UsageError(f"{raw} must be a positive number, not {value}")
        resolved[key] = number
    if not 0 < resolved.get(VAL_SHARE, 0.1) < 1:
        raise UsageError(f"val-share must lie between 0 and 1, not {resolved[VAL_SHARE]}")
    return resolved
