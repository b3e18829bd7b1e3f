"""A network beside its linearization at its initialization (docs/science.md, 13), by one Jacobian-vector product."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp

from nid_cli.analysis.class_samples import Samples
from nid_cli.analysis.tangent_network import TangentNetwork, in_double
from nid_cli.metrics import EVALUATION_BATCH
from nid_cli.records.ntk import Linearization


@torch.no_grad()
def linearize(initial: TangentNetwork, network: TangentNetwork, samples: Samples) -> tuple[Tensor, Tensor]:
    """(f_lin, f), each rows x outputs in float64: f_lin = f(theta_0) + J(theta_0) (theta - theta_0).

    theta are the trained entries; the running statistics of f_lin are those of theta_0, those of f its own. A row is a
    sample, or a position that counts.
    """
    graph = network.graph
    start = {name: initial.state[name] for name in graph.trained}
    moved = {name: network.state[name] - start[name] for name in graph.trained}
    moved |= {name: moved[name] * mask for name, mask in network.trainable.items() if name in moved}
    size = graph.batch(EVALUATION_BATCH)
    linear, actual = [], []
    with in_double():
        for first in range(0, len(samples), size):
            rows = slice(first, first + size)

            def answers(parameters: dict[str, Tensor], rows: slice = rows) -> Tensor:
                return initial.answers(samples, parameters, rows)

            value, slope = _along(answers, start, moved)
            linear.append(value + slope)
            actual.append(network.answers(samples, {}, rows))
    return torch.cat(linear), torch.cat(actual)


def _along(
    function: Callable[[dict[str, Tensor]], Tensor], at: dict[str, Tensor], direction: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The function's value at a point, and its derivative along a direction."""
    with warnings.catch_warnings():
        # Of torch's own code, which it loads with the first such product.
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        value, slope = jvp(function, (at,), (direction,))[:2]
    return value, slope


def linearization(linear: Tensor, actual: Tensor, labels: bool = False) -> Linearization:
    """How far f_lin is from f (rows x outputs).

    Args:
        labels: whether the sign of each output is an answer; else the greatest output of a row is.
    """
    difference = linear - actual
    length = float(actual.norm())
    lengths = float(linear.norm()) * length
    same = (linear > 0) == (actual > 0) if labels else linear.argmax(1) == actual.argmax(1)
    return Linearization(
        mse=float(difference.square().mean()),
        relative_error=float(difference.norm()) / length if length > 0 else None,
        cosine=float((linear * actual).sum()) / lengths if lengths > 0 else None,
        agreement=float(same.double().mean()),
    )
