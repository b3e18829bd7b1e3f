"""What it costs a neuron to realize another's function (docs/science.md, 6 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nid_cli.records.base import MODEL, Record, column, nested
from nid_cli.records.subspace import SubspaceSummary

# An n x n array: row i realizes the function of column j.
Matrix = Any


def matrix(meaning: str) -> Any:
    """Declares a :data:`Matrix`."""
    return column(meaning, kind="list[list[float]]", large=True)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A matrix in two numbers, over the ordered pairs of distinct neurons; None where there are none."""

    median: float | None = column("Median over pairs of distinct neurons", title="median")
    quantiles: dict[str, float] | None = column("Quantiles over pairs of distinct neurons")


def spread(prefix: str, words: str, short: str) -> Any:
    """Declares the :class:`Spread` of a matrix."""
    return nested(Spread, prefix=f"{prefix}_", words=words, title=f"{{}} {short}")


@dataclass(frozen=True, kw_only=True)
class _LayerCost(Record):
    schema = "nid.cost/1"
    about = MODEL

    layer: int | str = column("The weighted layer whose inputs are meant: its 0-based index (mlp) or its name (resnet)")
    method: str = column("The estimate: mahalanobis or ridge")
    subspace: SubspaceSummary = nested(SubspaceSummary)


@dataclass(frozen=True, kw_only=True)
class MahalanobisCost(_LayerCost):
    """One layer of a model by the Mahalanobis estimate."""

    neurons: int = column("Neurons of the matrices, n")
    cost: Spread = spread("cost_squared", "squared realization cost", "cost²")
    swap: Spread = spread("swap_squared", "squared swap cost", "swap cost²")
    infeasible: Spread = spread("residual", "part that cannot be realized", "residual")
    centers: Spread = spread("center_distance", "distance of the fixed parts", "center distance")
    swap_index: float | None = column(
        "How firmly the neurons hold their places, predicted from these costs alone: 1/n (all alike) to 1",
        title="swap index",
        default=None,
    )
    cost_squared: Matrix = matrix("Squared cost for neuron i to realize neuron j")
    swap_squared: Matrix = matrix("Squared cost for neurons i and j to swap their functions")
    residual: Matrix = matrix("Length of what neuron i cannot realize of neuron j at any cost")
    center_distance: Matrix = matrix("Distance of the projected fixed parts of neurons i and j")


@dataclass(frozen=True, kw_only=True)
class RidgeCost(_LayerCost):
    """One layer of a model by the ridge estimate at one beta, beside the Mahalanobis estimate of the same neurons."""

    beta: float = column("The temperature of the fit")
    activation: str = column("The activation through which outputs are compared")
    neurons: int = column("Neurons of the matrices, n")
    rank_correlation: float | None = column(
        "Spearman's correlation of the swap costs of the two estimates", title="rank correlation"
    )
    cost_rank_correlation: float | None = column("Spearman's correlation of the realization costs of the two estimates")
    cost: Spread = spread("cost_squared", "squared realization cost", "cost²")
    swap: Spread = spread("swap_squared", "squared swap cost", "swap cost²")
    objectives: Spread = spread("objective", "objective of the fits", "objective")
    errors: Spread = spread("mse", "mean squared error of the fits", "mse")
    cost_squared: Matrix = matrix("Squared norm of the fitted trainable weights: the squared cost")
    swap_squared: Matrix = matrix("Squared cost for neurons i and j to swap their functions")
    objective: Matrix = matrix("The fit's objective: mse / beta + squared norm")
    mse: Matrix = matrix("The fit's mean squared error")
    weight_norm: Matrix = matrix("Norm of the fitted effective weight")
    target_norm: Any = column("Norm of each neuron's own effective weight (n)", kind="list[float]", large=True)
    gradient_norm: Matrix = matrix("Norm of the objective's gradient at the fit")
    iterations: Matrix = matrix("Iterations of the fit that was kept")
    residual: Matrix = matrix("Length of what neuron i cannot realize of neuron j at any cost")
    center_distance: Matrix = matrix("Distance of the projected fixed parts of neurons i and j")
    mahalanobis_cost_squared: Matrix = matrix("The Mahalanobis estimate of the squared cost")
    mahalanobis_swap_squared: Matrix = matrix("The Mahalanobis estimate of the squared swap cost")
