"""Networks of the field, taken in: each runs as its module does, with the symmetries that are known of it."""

from __future__ import annotations

import pytest
import torch

from nid_cli.nets.agreement import agree
from nid_cli.nets.bounds import check
from nid_cli.nets.example import example
from nid_cli.nets.export import export
from nid_cli.nets.proof import TOLERANCE, prove, symmetries_of
from tests.nets.zoo import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_the_field_is_taken_in(name: str) -> None:
    known = NETWORKS[name]
    torch.manual_seed(0)
    module = known.build()
    described, state, _, alike = export(module, [known.input])
    check(described)
    symmetries = symmetries_of(described)
    assert len(symmetries.spaces) >= known.spaces
    assert symmetries.unruled == ()
    proof = prove(described, state, symmetries)
    assert proof.error <= TOLERANCE and not proof.at_fault
    assert round(proof.moved, 3) >= known.moved
    # Stochastic depth draws at random by other means than dropout: such networks are held in evaluation alone.
    assert alike or name in ("convnext_tiny", "efficientnet_b0")
    found = agree(module, described, state, example(described.inputs, samples=4, seed=1), training=alike)
    assert max(found.evaluation, found.training, found.statistics) < 1e-6
