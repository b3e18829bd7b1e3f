"""Tangent kernels of models and of pairs: each kernel is made once for all results that read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from nid_cli.analysis.class_samples import Samples, check_samples, draw_samples
from nid_cli.analysis.kernel_values import compare, spectrum
from nid_cli.analysis.linearization import linearization, linearize
from nid_cli.analysis.parameters import Parameters
from nid_cli.analysis.tangent_kernel import tangent_kernel
from nid_cli.analysis.tangent_network import TangentNetwork
from nid_cli.data.catalog import measures_of
from nid_cli.errors import UsageError
from nid_cli.pipeline.analyses.lab import Lab, Stock, data_key
from nid_cli.records.ntk import Linearization, Ntk, NtkPair
from nid_cli.registry.groups import Group
from nid_cli.registry.results import ResultKey
from nid_cli.registry.runs import Model
from nid_cli.specs import derive_seed

ONE_SAMPLE = "{} is one graph, whose nodes are no samples: its network sees all of them at once"
# Kernels kept in memory take at most this many bytes (but three at least: a model's own, first and previous one).
KERNEL_BYTES = 2**28


def refuse(stock: Stock, missing: Sequence[ResultKey]) -> None:
    """Refuses numbers of samples that the data of a group do not have.

    Raises:
        UsageError: one sentence that names the data set.
    """
    seen = set()
    for key in missing:
        group, _ = key.of_group
        split, samples = key.parameters["split"], key.parameters["samples"]
        if _not_applicable(group) is None and (wanted := (data_key(group), split, samples)) not in seen:
            seen.add(wanted)
            try:
                check_samples(stock.data(group), split, samples)
            except UsageError as error:
                raise UsageError(f"{group.spec.data.name}: {error.message}", error.hint) from None


class Kernels:
    """The kernels of models on drawn samples; those that were asked for last stay in memory."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._kernels: dict[tuple[int, int, int, str, int], Tensor] = {}
        self._samples: tuple[tuple[str, str, int], Samples] | None = None

    def samples(self, key: ResultKey) -> Samples:
        """The samples of a result: the same for all models that read the same data.

        Raises:
            UsageError: they cannot be drawn.
        """
        group, _ = key.of_group
        split, samples = key.parameters["split"], key.parameters["samples"]
        wanted = data_key(group), split, samples
        data = self.lab.data(group)
        if self._samples is None or self._samples[0] != wanted:
            self._samples = wanted, draw_samples(data, split, samples, derive_seed(0, "ntk", split))
        return self._samples[1]

    def network(self, group: Group, model: Model, epoch: int) -> TangentNetwork:
        """A model at an epoch, ready for kernels."""
        return TangentNetwork(group.graph, self.lab.model(group, model, epoch), self.lab.trainable(group))

    def of(self, key: ResultKey, model: Model, epoch: int) -> Tensor:
        """The kernel of a model at an epoch (N x N) on the samples of a result."""
        group, _ = key.of_group
        samples = self.samples(key)
        wanted = group.id, model.id, epoch, key.parameters["split"], len(samples)
        kernel = self._kernels.pop(wanted, None)
        if kernel is None:
            kernel = tangent_kernel(self.network(group, model, epoch), samples).cpu()
        self._kernels[wanted] = kernel
        while len(self._kernels) > max(3, KERNEL_BYTES // (8 * len(samples) ** 2)):
            del self._kernels[next(iter(self._kernels))]
        return kernel


def compute(lab: Lab, missing: Sequence[ResultKey], parameters: Parameters) -> Iterator[tuple[ResultKey, Ntk]]:
    """Model by model the kernel of its epoch, beside those of epoch 0 and of the epoch saved before."""
    kernels = Kernels(lab)
    for key in _telling(lab, missing):
        group, epoch = key.of_group
        [model] = key.models
        before = max(key.also, default=None)
        lab.data(group)  # which every result is recorded with
        reason = _not_applicable(group)
        if reason is not None:
            yield (
                key,
                Ntk(
                    **key.parameters, spectrum=None, init=None, previous_epoch=before, previous=None, linear=None,
                    status="not_applicable", reason=reason,
                ),
            )  # fmt: skip
            continue
        own = kernels.of(key, model, epoch)
        has_start = 0 in (epoch, *key.also)
        yield (
            key,
            Ntk(
                **key.parameters,
                spectrum=spectrum(own),
                init=compare(own, kernels.of(key, model, 0)) if has_start else None,
                previous_epoch=before,
                previous=None if before is None else compare(own, kernels.of(key, model, before)),
                linear=_linear(kernels, key) if has_start else None,
                status="ok",
                reason=parameters.lacking(epoch, key.also),
            ),
        )


def _linear(kernels: Kernels, key: ResultKey) -> Linearization:
    """The model beside its linearization at its epoch 0."""
    group, epoch = key.of_group
    samples, [model] = kernels.samples(key), key.models
    linear, actual = linearize(kernels.network(group, model, 0), kernels.network(group, model, epoch), samples)
    return linearization(linear, actual, samples.labels)


def compute_pairs(
    lab: Lab, missing: Sequence[ResultKey], parameters: Parameters
) -> Iterator[tuple[ResultKey, NtkPair]]:
    """The kernels of two models, each model's made once for all of its pairs; the change is relative to the first's."""
    kernels = Kernels(lab)
    for key in _telling(lab, missing):
        group, epoch = key.of_group
        lab.data(group)  # which every result is recorded with
        reason = _not_applicable(group)
        if reason is not None:
            yield key, NtkPair(**key.parameters, comparison=None, status="not_applicable", reason=reason)
            continue
        a, b = (kernels.of(key, model, epoch) for model in key.models)
        yield key, NtkPair(**key.parameters, comparison=compare(b, a), status="ok", reason=None)


def _telling(lab: Lab, missing: Sequence[ResultKey]) -> Iterator[ResultKey]:
    """The results one by one, telling the progress."""
    for done, key in enumerate(missing):
        group, epoch = key.of_group
        numbers = "-".join(str(model.number) for model in key.models)
        lab.progress("ntk", done, len(missing), f"{group.name} {numbers} epoch {epoch}")
        yield key
    lab.progress("ntk", len(missing), len(missing), "done")


def _not_applicable(group: Group) -> str | None:
    """Why samples make no sense for a group; None where they do."""
    data = group.spec.data
    return ONE_SAMPLE.format(data.name) if measures_of(data).links is not None else None
