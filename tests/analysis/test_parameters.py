"""Keys of results outlive new parameters: one that is declared later changes none at its default."""

from __future__ import annotations

from dataclasses import field, make_dataclass

import pytest

from nid_cli.analysis.parameters import CostParameters, Parameters
from nid_cli.nets.mlp import mlp
from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.pipeline.analyses.requests import NO_NETWORK
from nid_cli.specs import Measures, stable_hash
from nid_cli.specs.canonical import later

GRAPH = mlp(Measures((6,), 3, "classes"), width=5, depth=3, norm="batch", activation="relu", gated=False)
KINDS = [(entry.parameters, {}) for entry in ANALYSES.values()] + [(CostParameters, {"method": "ridge"})]


def keys(parameters: Parameters) -> list[str]:
    """Hashes of all keys of a request about one network."""
    return [stable_hash(key) for key in parameters.of_each(GRAPH)]


@pytest.mark.parametrize(("kind", "given"), KINDS, ids=lambda value: getattr(value, "__name__", None))
def test_a_later_parameter_changes_keys_only_where_it_is_not_its_default(kind: type[Parameters], given: dict) -> None:
    grown = make_dataclass("Grown", [("smoothing", float, later(0.5))], bases=(kind,), frozen=True, kw_only=True)
    before = keys(kind(**given))
    assert len(set(before)) == len(before) > 0
    assert keys(grown(**given)) == before
    assert set(keys(grown(**given, smoothing=1.0))).isdisjoint(before)
    # One that is not declared so would orphan every result that is there.
    careless = make_dataclass(
        "Grown", [("smoothing", float, field(default=0.5))], bases=(kind,), frozen=True, kw_only=True
    )
    assert set(keys(careless(**given))).isdisjoint(before)


def test_keys_are_what_they_were_when_they_were_written_by_hand() -> None:
    found = {name: list(entry.parameters().of_each(GRAPH)) for name, entry in ANALYSES.items()}
    [plain, aligned] = found["lmc"]
    assert plain == {"align": "none", "points": 9} and aligned == {"align": "activation", "points": 9}
    layer = {"layer": "linear.0"}
    assert found["match"][0] == layer | {"at": "post_activation", "similarity": "pearson", "random": 100}
    assert found["cost"][0] == layer | {"explained_variance": 0.9, "method": "mahalanobis"}
    assert found["coherence"][0] == layer | {"explained_variance": 0.9}
    assert found["coherence"][-1]["layer"] == "output"
    [ridge, *_] = CostParameters(method="ridge", betas=(0.1,)).of_each(GRAPH)
    assert ridge == found["cost"][0] | {
        "method": "ridge", "neurons": 16, "solver": "lbfgs", "iterations": None, "subsample": None, "beta": 0.1,
    }  # fmt: skip
    [pair, *_] = ANALYSES["synthetic"].parameters().of_each(NO_NETWORK)
    assert pair == {
        "family": "exact_copy", "active_copies": 1, "outer_seed": 0, "pair": 0, "copies": 10, "width": 128,
        "density": 0.15, "train_samples": 1024, "test_samples": 2048, "batch_size": 512, "epochs": 100,
        "learning_rate": 0.01, "weight_decay": 0.01, "init_sd": 0.05, "points": 21, "axis_aligned_endpoint": False,
    }  # fmt: skip
