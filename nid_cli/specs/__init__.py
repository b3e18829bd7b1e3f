"""What things are, as frozen values with a canonical form: runs, symmetry types, kappas. No torch."""

from nid_cli.specs.alignments import ALIGNMENTS, Alignment
from nid_cli.specs.canonical import Canonical, canonical_json, derive_seed, later, stable_hash
from nid_cli.specs.inputs import InputText, parse_input
from nid_cli.specs.kappa import Kappa
from nid_cli.specs.layers import by_layer, parse_by_layer
from nid_cli.specs.measures import Measures
from nid_cli.specs.merges import MERGES
from nid_cli.specs.run import (
    ACTIVATIONS,
    EXTERNAL,
    FIELDS,
    NORMS,
    OPTIMIZERS,
    SCHEDULES,
    DataSpec,
    NetworkSpec,
    OptimizerSpec,
    RunSpec,
    SymmetrySpec,
)
from nid_cli.specs.selection import Selection
from nid_cli.specs.symmetries import SYMMETRIES, SymmetryType, symmetry_name

# The parts of a data set, in the order in which they are shown.
SPLITS = ("train", "val", "test")

__all__ = [
    "ACTIVATIONS",
    "ALIGNMENTS",
    "EXTERNAL",
    "FIELDS",
    "MERGES",
    "NORMS",
    "OPTIMIZERS",
    "SCHEDULES",
    "SPLITS",
    "SYMMETRIES",
    "Alignment",
    "Canonical",
    "DataSpec",
    "InputText",
    "Kappa",
    "Measures",
    "NetworkSpec",
    "OptimizerSpec",
    "RunSpec",
    "Selection",
    "SymmetrySpec",
    "SymmetryType",
    "by_layer",
    "canonical_json",
    "derive_seed",
    "later",
    "parse_by_layer",
    "parse_input",
    "stable_hash",
    "symmetry_name",
]
