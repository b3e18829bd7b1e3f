"""The parameters of each analysis: their fields are the options of its command with their defaults, the words of the
command that makes its results again, and (through ``of_each``) the key of every result. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from nid_cli.analysis.catalog import METHODS, REPAIRS, SIMILARITIES, SINCE, SOLVERS
from nid_cli.errors import UsageError, unknown
from nid_cli.nets.graph import SITES, Graph
from nid_cli.nets.preactivations import preactivations
from nid_cli.specs import ALIGNMENTS, MERGES, SPLITS, Canonical
from nid_cli.specs.canonical import later
from nid_cli.specs.selection import PATHS

# What determines one result, beside its models: JSON-able values by name.
Key = dict[str, Any]
# Bytes of one covariance that is held in memory.
LARGEST_COVARIANCE = 2**32
# Of a convolution the ridge estimate takes so many patches where no --subsample is given.
PATCHES = 20_000
# A kernel of more samples (N x N) is none that eigenvalues are taken of.
MOST_SAMPLES = 10_000
# The parameters of the ridge estimate alone that all betas share.
RIDGE = ("neurons", "solver", "iterations", "subsample")
# The steps of a learned alignment, where no others are chosen.
LEARN_STEPS: int = ALIGNMENTS["learned"].parameters.learn_steps


class Parameters(Canonical):
    """What a call of an analysis asks for, the selection of models aside.

    Raises:
        UsageError: a value that cannot be.
    """

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """The results that it asks for of one model or pair with this network, in order."""
        raise NotImplementedError

    def check(self, graphs: Sequence[Graph]) -> None:
        """Holds the whole request against the networks of the selected groups.

        Raises:
            UsageError: it makes no sense for them.
        """

    def check_not_empty(self, graphs: Sequence[Graph]) -> None:
        """Says why there are models and yet no results for these networks.

        Raises:
            UsageError: nothing of them can be measured so.
        """

    def also(self, epoch: int, known: Collection[int]) -> tuple[int, ...]:
        """The further epochs whose checkpoints a result at ``epoch`` is made of.

        Args:
            known: those that all its models have.
        """
        return ()

    def lacking(self, epoch: int, also: Collection[int] = ()) -> str | None:
        """What a result at ``epoch`` goes without where ``also`` are all its further ones, and what helps: a sentence.

        None where it lacks nothing.
        """
        return None

    def common(self, *expanded: str) -> Key:
        """What the keys of all its results share: the canonical form without the fields of which each has its own."""
        return {name: value for name, value in self.canonical().items() if name not in expanded}

    def chosen(self) -> dict[str, Any]:
        """The fields whose values are not the default ones."""
        return {d.name: getattr(self, d.name) for d in fields(self) if getattr(self, d.name) != d.default}  # type: ignore[arg-type]


def output_of(graph: Graph) -> str:
    """The name of a network's output where layers are named."""
    return "output" if "output" not in graph.layers else "the output"


def _known(what: str, names: Sequence[str], choices: Sequence[str]) -> None:
    for name in names:
        if name not in choices:
            raise unknown(what, name, choices)


def _chosen(layers: Sequence[str], labels: Mapping[str, str], what: str = "layer") -> list[str]:
    """The names of layers that were chosen by label, name or index, in this order of precedence.

    Args:
        labels: their names in order, by what records call them.
    """
    names = list(labels.values())
    known = {str(index): name for index, name in enumerate(names)} | {name: name for name in names} | dict(labels)
    if wrong := [layer for layer in layers if layer not in known]:
        shown = names if all(label.isdigit() for label in labels) else labels
        raise UsageError(
            f"there is no {what} {wrong[0]}; {what}s are 0 to {len(names) - 1}, or {', '.join(shown)}"
            if names
            else f"there is no {what} {wrong[0]}, nor any other"
        )
    return list(dict.fromkeys(known[layer] for layer in layers))


def _names(names: Sequence[str]) -> dict[str, str]:
    return {name: name for name in names}


def _refuse_wide(sizes: Sequence[tuple[str, int]]) -> None:
    """Refuses covariances that would take more memory than ``LARGEST_COVARIANCE`` bytes.

    Args:
        sizes: name and inputs of each chosen layer, in the order of their indices.

    Raises:
        UsageError: one is too wide; the hint chooses the others.
    """
    wide = [(name, inputs) for name, inputs in sizes if 8 * inputs * inputs > LARGEST_COVARIANCE]
    if wide:
        name, inputs = wide[0]
        others = [own for own, _ in sizes if own not in dict(wide)]
        raise UsageError(
            f"the covariance of the {inputs} inputs of {name} would take {8 * inputs**2 / 2**30:.1f} GiB "
            f"(and its decomposition several times that), more than {LARGEST_COVARIANCE >> 30} GiB",
            f"--layers {','.join(others)}" if others else "leave the layer out with --layers",
        )


def _refuse_many(sizes: Sequence[tuple[str, int]]) -> None:
    """Refuses matrices of all pairs of a layer's neurons that would take more than ``LARGEST_COVARIANCE`` bytes."""
    many = [(name, neurons) for name, neurons in sizes if 8 * neurons * neurons > LARGEST_COVARIANCE]
    if many:
        name, neurons = many[0]
        others = [own for own, _ in sizes if own not in dict(many)]
        raise UsageError(
            f"the costs of all pairs of the {neurons} neurons of {name} would take {8 * neurons**2 / 2**30:.1f} GiB, "
            f"more than {LARGEST_COVARIANCE >> 30} GiB",
            f"--layers {','.join(others)}" if others else "leave the layer out with --layers",
        )


def _is_share(explained_variance: float) -> None:
    if not 0 < explained_variance <= 1:
        raise UsageError(f"explained-variance must lie above 0 and not above 1, not {explained_variance}")


def _know_repair(bn_reset: bool, repair: str | None) -> None:
    if repair is not None:
        _known("repair", [repair], list(REPAIRS))
        if bn_reset:
            raise UsageError("--repair resets the statistics of batch norms too", "leave --bn-reset out")


def _corrections(bn_reset: bool, repair: str | None, graph: Graph) -> Key:
    """What is done to networks that were averaged, where this one has anything to correct."""
    found: Key = {"bn_reset": True} if bn_reset and graph.statistics else {}
    return found | ({"repair": repair} if repair is not None and preactivations(graph).all else {})


def _refuse_corrections(bn_reset: bool, repair: str | None, graphs: Sequence[Graph]) -> None:
    if repair is not None and not any(preactivations(graph).all for graph in graphs):
        raise UsageError("no selected group has a layer before a norm or an activation to repair", "leave it out")
    if bn_reset and not any(graph.statistics for graph in graphs):
        raise UsageError("no selected group has batch norms, so --bn-reset has nothing to reset", "leave it out")


def usual_alignments(pairs: str) -> tuple[str, ...]:
    """Of these pairs where none were chosen: two epochs of one model share the places of its neurons, so that aligning
    them is a question of its own."""
    return ("none",) if pairs == PATHS else LmcParameters().align


def _learning(align: Sequence[str], steps: int) -> None:
    """Refuses steps that cannot be, and some that were chosen for no alignment."""
    for name in align:
        ALIGNMENTS[name].parameters_of({"learn_steps": steps})
    if steps != LEARN_STEPS and not any("learn_steps" in ALIGNMENTS[name].chosen for name in align):
        raise UsageError(
            "--learn-steps belongs to the alignment learned, which is not chosen", "--align weight,learned"
        )


@dataclass(frozen=True, kw_only=True)
class LmcParameters(Parameters):
    """``bn_reset``: of groups with batch norms, the variant whose statistics are estimated anew after interpolation.
    ``repair``: of groups with hidden layers, the variant whose pre-activations are corrected, in one of ``REPAIRS``.
    ``anatomy``: the variant that measures what the barrier is made of; ``per_sample``: of each sample too.
    """

    align: tuple[str, ...] = ("none", "activation")
    points: int = 9
    bn_reset: bool = False
    learn_steps: int = LEARN_STEPS
    repair: str | None = later(None)
    anatomy: bool = later(False)
    per_sample: bool = later(False)

    def __post_init__(self) -> None:
        _known("alignment", self.align, list(ALIGNMENTS))
        _learning(self.align, self.learn_steps)
        _know_repair(self.bn_reset, self.repair)
        if not 2 <= self.points <= 10_001:
            raise UsageError(f"points must lie between 2 and 10001, not {self.points}")
        if self.per_sample and not self.anatomy:
            raise UsageError("--per-sample goes with --anatomy", "add --anatomy")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each alignment."""
        variant = _corrections(self.bn_reset, self.repair, graph)
        variant |= {name: True for name in ("anatomy", "per_sample") if getattr(self, name)}
        common = self.common("align", "bn_reset", "learn_steps", "repair", "anatomy", "per_sample") | variant
        for name in self.align:
            own = ALIGNMENTS[name].parameters_of({"learn_steps": self.learn_steps})
            yield {"align": name, **common, **own.canonical()}

    def check(self, graphs: Sequence[Graph]) -> None:
        """Some group must have batch norms where they are to be reset, and pre-activations to be repaired."""
        _refuse_corrections(self.bn_reset, self.repair, graphs)


@dataclass(frozen=True, kw_only=True)
class MatchParameters(Parameters):
    """``random``: so many random permutations for the baseline. ``layers``: spaces, by label or name, None for all."""

    at: tuple[str, ...] = ("post_activation",)
    similarity: tuple[str, ...] = ("pearson",)
    random: int = 100
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _known("recording point", self.at, SITES)
        _known("similarity", self.similarity, list(SIMILARITIES))
        if not 0 <= self.random <= 100_000:
            raise UsageError(f"random must lie between 0 and 100000, not {self.random}")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each recording site, similarity and hidden layer that has the site."""
        labels = {str(space.label): space.name for space in graph.spaces}
        chosen = set(labels.values() if self.layers is None else _chosen(self.layers, labels, "space"))
        common = self.common("at", "similarity", "layers")
        for at, similarity, space in product(self.at, self.similarity, graph.spaces):
            if at in space.sites and space.name in chosen:
                yield common | {"layer": space.name, "at": at, "similarity": similarity}

    def check_not_empty(self, graphs: Sequence[Graph]) -> None:
        """Says which sites there are."""
        found = {site for graph in graphs for space in graph.spaces for site in space.sites}
        if not any(graph.spaces for graph in graphs):
            raise UsageError("the selected networks have no neurons that could be permuted, so none to match")
        known = [site for site in SITES if site in found]
        raise UsageError(
            f"the chosen neurons of the selected networks are not recorded at {' or '.join(self.at)}",
            f"--at {','.join(known)}" if known else None,
        )


@dataclass(frozen=True, kw_only=True)
class SimilarityParameters(Parameters):
    """``at``: where the neurons of CKA are recorded. ``since``: what updates count from, see ``catalog.SINCE``."""

    align: tuple[str, ...] = ("none", "activation")
    at: tuple[str, ...] = ("post_activation",)
    since: str = "init"
    learn_steps: int = LEARN_STEPS

    def __post_init__(self) -> None:
        _known("alignment", self.align, list(ALIGNMENTS))
        _learning(self.align, self.learn_steps)
        _known("recording point", self.at, SITES)
        _known("start of updates", [self.since], SINCE)

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each recording site and alignment."""
        common = self.common("align", "at", "learn_steps")
        for at, align in product(self.at, self.align):
            own = ALIGNMENTS[align].parameters_of({"learn_steps": self.learn_steps})
            yield {"align": align, **own.canonical(), **common, "at": at}

    def also(self, epoch: int, known: Collection[int]) -> tuple[int, ...]:
        """Epoch 0, or the saved one before, from which updates count."""
        earlier = [other for other in known if other < epoch and (self.since == "previous" or other == 0)]
        return (max(earlier),) if earlier else ()

    def lacking(self, epoch: int, also: Collection[int] = ()) -> str | None:
        """Why there are no update cosines."""
        if also:
            return None
        if epoch == 0:
            return "no update cosines at epoch 0, where nothing has changed yet; choose later epochs with --epochs"
        if self.since == "init":
            return (
                "no update cosines, because epoch 0 of these models is not in the registry; nid register --init takes "
                "initializations in, --since previous with later --epochs counts from the saved epoch before"
            )
        return f"no update cosines, because epoch {epoch} is the first one saved; choose later epochs with --epochs"

    def check(self, graphs: Sequence[Graph]) -> None:
        """Some network must have neurons at each of the sites."""
        found = {site for graph in graphs for space in graph.spaces for site in space.sites}
        if found and (wrong := [at for at in self.at if at not in found]):
            known = [site for site in SITES if site in found]
            raise UsageError(
                f"no neurons of the selected networks are recorded at {wrong[0]}", f"--at {','.join(known)}"
            )


@dataclass(frozen=True, kw_only=True)
class MergeParameters(Parameters):
    """``align``: names of ``specs.MERGES``. ``bn_reset`` and ``repair``: as in :class:`LmcParameters`."""

    align: tuple[str, ...] = ("none", "first", "many", "cycle")
    bn_reset: bool = False
    repair: str | None = None

    def __post_init__(self) -> None:
        _known("alignment", self.align, list(MERGES))
        _know_repair(self.bn_reset, self.repair)

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each alignment."""
        common = self.common("align", "bn_reset", "repair") | _corrections(self.bn_reset, self.repair, graph)
        for name in self.align:
            yield {"align": name, **common, **MERGES[name].parameters.canonical()}

    def check(self, graphs: Sequence[Graph]) -> None:
        """Some group must have batch norms where they are to be reset, and pre-activations to be repaired."""
        _refuse_corrections(self.bn_reset, self.repair, graphs)


@dataclass(frozen=True, kw_only=True)
class CostParameters(Parameters):
    """``layers``: by 0-based index or name, None for all. What follows belongs to the ridge estimate alone:

    ``betas`` (temperatures), ``neurons`` (all ordered pairs of the first so many), ``solver``, ``iterations`` and
    ``subsample`` (None: the solver's, or the data's, own).
    """

    method: str = "mahalanobis"
    explained_variance: float = 0.9
    layers: tuple[str, ...] | None = None
    betas: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    neurons: int = 16
    solver: str = "lbfgs"
    iterations: int | None = None
    subsample: int | None = None

    def __post_init__(self) -> None:
        _known("method", [self.method], METHODS)
        _known("solver", [self.solver], list(SOLVERS))
        _is_share(self.explained_variance)
        if not self.betas or any(not 0 < beta < float("inf") for beta in self.betas):
            raise UsageError(f"betas must be positive numbers, not {', '.join(map(str, self.betas))}")
        for name in ("neurons", "iterations", "subsample"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each layer, and for ridge for each beta."""
        common = self.common("layers", "betas")
        for layer in self._layers(graph):
            if self.method != "ridge":
                yield {name: value for name, value in common.items() if name not in RIDGE} | {"layer": layer}
                continue
            usual = PATCHES if graph.layers[layer].patches or graph.rows_of(graph.layers[layer]) > 1 else None
            for beta in dict.fromkeys(self.betas):
                yield common | {"layer": layer, "subsample": self.subsample or usual, "beta": beta}

    def _layers(self, graph: Graph) -> list[str]:
        names = list(graph.layers)
        return names if self.layers is None else _chosen(self.layers, _names(names))

    def check(self, graphs: Sequence[Graph]) -> None:
        """Costs of all pairs, and covariances, must fit into memory; ridge must know each layer's activation."""
        for graph in graphs:
            names = self._layers(graph)
            layers = [graph.layers[name] for name in names]
            _refuse_wide([(layer.name, layer.fan_in) for layer in layers])
            if self.method != "ridge":  # which is of the first neurons alone
                _refuse_many([(layer.name, layer.channels) for layer in layers])
            elif wrong := [name for name in names if name in graph.not_followed]:
                function = graph.not_followed[wrong[0]].function.partition(".")[0]
                others = ",".join(name for name in names if name not in wrong)
                raise UsageError(
                    f"the ridge estimate cannot tell the activation of {wrong[0]}: what follows it, {function}, is no "
                    "activation of one call that treats all neurons alike",
                    f"--layers {others}" if others else "leave the layer out with --layers",
                )


@dataclass(frozen=True, kw_only=True)
class CoherenceParameters(Parameters):
    """The share of the inputs' variance that a layer's principal subspace holds; ``layers`` by index or name (or
    ``output``), None for all."""

    explained_variance: float = 0.9
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _is_share(self.explained_variance)

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each weighted layer, and one for the output."""
        for layer in self._layers(graph):
            yield {"layer": layer, **self.common("layers")}

    def _layers(self, graph: Graph) -> list[str]:
        names = [*graph.layers, output_of(graph)]
        return names if self.layers is None else _chosen(self.layers, _names(names))

    def check(self, graphs: Sequence[Graph]) -> None:
        """Covariances must fit into memory."""
        for graph in graphs:
            wide = {output_of(graph): graph.outputs} | {name: layer.fan_in for name, layer in graph.layers.items()}
            _refuse_wide([(name, wide[name]) for name in self._layers(graph)])


@dataclass(frozen=True, kw_only=True)
class KernelParameters(Parameters):
    """So many ``samples`` of a ``split``, of each class equally many."""

    samples: int = 100
    split: str = "train"

    def __post_init__(self) -> None:
        _known("split", [self.split], SPLITS)
        if not 2 <= self.samples <= MOST_SAMPLES:
            raise UsageError(f"samples must lie between 2 and {MOST_SAMPLES}, not {self.samples}")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each model, or pair."""
        yield self.common()


@dataclass(frozen=True, kw_only=True)
class NtkParameters(KernelParameters):
    """The same, of models beside their own epoch 0 and the epoch saved before."""

    def also(self, epoch: int, known: Collection[int]) -> tuple[int, ...]:
        """Epoch 0 and the saved one before, in order: the same at the first epoch after 0."""
        earlier = [other for other in known if other < epoch]
        return tuple(sorted({0, max(earlier)} & set(earlier))) if earlier else ()

    def lacking(self, epoch: int, also: Collection[int] = ()) -> str | None:
        """Why nothing is compared with the initialization."""
        if epoch == 0 or 0 in also:
            return None
        return (
            "no comparison with the initialization and no linearization, because epoch 0 of these models is not in the "
            "registry; nid register --init takes initializations in"
        )
