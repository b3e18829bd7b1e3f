"""The parameters of each analysis: their fields are the options of its command with their defaults, the words of the
command that makes its results again, and (through ``of_each``) the key of every result. No torch."""

from nid_cli.analysis.parameters.base import Key, Parameters
from nid_cli.analysis.parameters.choices import output_of
from nid_cli.analysis.parameters.coherence import CoherenceParameters
from nid_cli.analysis.parameters.cost import CostParameters
from nid_cli.analysis.parameters.learning import LEARN_STEPS
from nid_cli.analysis.parameters.lmc import LmcParameters, usual_alignments
from nid_cli.analysis.parameters.match import MatchParameters
from nid_cli.analysis.parameters.merge import MergeParameters
from nid_cli.analysis.parameters.ntk import KernelParameters, NtkParameters
from nid_cli.analysis.parameters.similarity import SimilarityParameters

__all__ = [
    "LEARN_STEPS",
    "CoherenceParameters",
    "CostParameters",
    "KernelParameters",
    "Key",
    "LmcParameters",
    "MatchParameters",
    "MergeParameters",
    "NtkParameters",
    "Parameters",
    "SimilarityParameters",
    "output_of",
    "usual_alignments",
]
