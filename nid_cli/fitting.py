"""Whether a network that was taken in fits a data set: what it reads and what it puts out. No torch."""

from __future__ import annotations

from nid_cli.data.catalog import measures_of
from nid_cli.errors import UsageError
from nid_cli.nets import Graph
from nid_cli.nets.calls import Batch
from nid_cli.specs import DataSpec


def refuse_unfit(graph: Graph, data: DataSpec) -> None:
    """Holds a network against the samples and the targets of a data set.

    A network may have classes that no sample is of.

    Raises:
        UsageError: they do not fit.
    """
    needed, [given] = measures_of(data), graph.description.inputs
    if graph.input_shape != needed.shape:
        read, one = ("x".join(map(str, shape)) for shape in (graph.input_shape, needed.shape))
        raise UsageError(f"the network reads {read}, but a sample of {data.name} is {one}")
    if (given.vocabulary is None) != (needed.vocabulary is None) or (given.vocabulary or 0) < (needed.vocabulary or 0):
        below = [f"whole numbers below {most}" if most else "numbers" for most in (given.vocabulary, needed.vocabulary)]
        raise UsageError(f"the network reads {below[0]}, but the samples of {data.name} are {below[1]}")
    shape = graph.description.by_name[graph.output].shape or ()
    places = () if needed.targets != "positions" else (needed.positions or "positions",)
    right = len(shape) == 2 + len(places) and shape[0] == Batch() and all(isinstance(size, int) for size in shape[1:])
    if not right or (needed.positions is not None and shape[1] != needed.positions):
        said = " x ".join(_axis(size) for size in shape)
        wanted = " x ".join(["N", *map(str, places), str(needed.outputs)])
        raise UsageError(f"the network puts out {said}, but the data set {data.name} needs {wanted}")
    if graph.outputs < needed.outputs or (needed.targets == "labels" and graph.outputs != needed.outputs):
        raise UsageError(
            f"the network has {graph.outputs} outputs, but the data set {data.name} has {needed.outputs} "
            f"{'labels' if needed.targets == 'labels' else 'classes'}",
            "--model-arg KEY=VALUE gives arguments to the function, such as num_classes",
        )


def _axis(size: object) -> str:
    if isinstance(size, Batch):
        return "N" if size.times == 1 else f"{size.times}N"
    return str(size)
