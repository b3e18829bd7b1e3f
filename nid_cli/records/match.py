"""How well the neurons of two models match (docs/science.md, 4)."""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.records.base import PAIR, Record, column


@dataclass(frozen=True, kw_only=True)
class Match(Record):
    """One hidden layer of a pair, at one recording site, by one similarity. Objectives are means over neurons."""

    schema = "nid.match/1"
    about = PAIR

    layer: int | str = column("The hidden layer: its 0-based index (mlp), or the name of its stream or block (resnet)")
    at: str = column("The recording site: post_linear, post_norm or post_activation")
    similarity: str = column("How neurons are compared: pearson (correlation) or dot (mean product)")
    optimal: float = column("Mean similarity under the best permutation")
    identity: float = column("Mean similarity under the identity")
    random_mean: float | None = column("Mean of the objective over random permutations")
    random_sd: float | None = column("Standard deviation of the objective over random permutations")
    random_min: float | None = column("Least objective of the random permutations")
    random_max: float | None = column("Greatest objective of the random permutations")
    share_identity: float = column("Share of the neurons whose best partner is themselves")
    permutation: list[int] = column("For each neuron of the first model its partner under the best permutation")
