"""Small residual networks, away from their initialization, and pictures for them."""

import torch

from nid_cli.analysis.batch_norm import reset_statistics
from nid_cli.data.tensors import Data, Split
from nid_cli.graphs import graph_of
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.symmetry import constants_of, draw_fixed, initial_state, rule_of
from tests.conftest import small_spec


def trained_resnet(norm: str, seed: int, symmetry: str = "standard", depth: int = 8) -> tuple[Graph, State]:
    """A resnet on 8 x 8 pictures whose norms are random too, with statistics that fit :func:`image_data` (float32)."""
    spec = small_spec(arch="resnet", norm=norm, depth=depth, width=1, symmetry=symmetry)
    kind, graph = rule_of(symmetry), graph_of(spec)
    fixed = draw_fixed(kind, graph, spec.symmetry.num_fixed, 0)
    state = initial_state(kind, graph, fixed, spec.symmetry.kappa, seed) | constants_of(graph, fixed)
    generator = torch.Generator().manual_seed(seed)
    for name in [n for n in state if "norm" in n]:
        state[name] = torch.rand(state[name].shape, generator=generator) + (-0.5 if name.endswith("bias") else 0.5)
    return graph, reset_statistics(graph, state, image_data())


def image_data(count: int = 60) -> Data:
    """Random pictures, 1 x 8 x 8, of ten classes."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(count, 1, 8, 8, generator=generator), torch.randint(10, (count,), generator=generator)
    return Data(Split(x, y), Split(x[:20], y[:20]), Split(x[20:40], y[20:40]))
