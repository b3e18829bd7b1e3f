"""Networks as data: ``build`` describes one (no torch); ``functional`` runs it on a dictionary of tensors."""

from nid_cli.nets.architectures import ARCHITECTURES, build
from nid_cli.nets.graph import Graph

__all__ = ["ARCHITECTURES", "Graph", "build"]
