"""A part of an analysis: what workers do. They read no file of the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nid_cli.analysis.parameters import Parameters
from nid_cli.lazy import resolve
from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.pipeline.analyses.lab import Lab, data_key
from nid_cli.records.base import Record
from nid_cli.registry.groups import Group
from nid_cli.registry.results import ResultKey

if TYPE_CHECKING:
    import torch

    from nid_cli.data.tensors import Data


@dataclass(frozen=True)
class Part:
    """Results of one group to be computed."""

    keys: tuple[ResultKey, ...]
    parameters: Parameters


class HeldStock:
    """Files (by SHA-256) and data that a worker was given; whoever sent them has verified them."""

    def __init__(self, held: Mapping[str, Any]) -> None:
        self.held = held

    def content(self, path: str, sha256: str) -> bytes:
        """One file."""
        own: bytes = self.held[sha256]
        return own

    def data(self, group: Group) -> Data:
        """The data set of a group."""
        own: Data = self.held[data_key(group)]
        return own


def compute(part: Part, held: Mapping[str, Any], device: torch.device) -> Iterator[tuple[int, Record]]:
    """The records of a part, each with the place of its key."""
    places = {key.text: place for place, key in enumerate(part.keys)}
    function = resolve(ANALYSES[part.keys[0].analysis].compute)
    for key, record in function(Lab(HeldStock(held), device), part.keys, part.parameters):
        yield places[key.text], record
