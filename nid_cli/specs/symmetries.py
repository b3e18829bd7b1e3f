"""The one table of symmetry types: the settings that each takes, and where its rule is. No torch.

A new type is one entry here and one rule, a ``nid_cli.nets.symmetry.Rule``.
"""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.errors import unknown


@dataclass(frozen=True, kw_only=True)
class SymmetryType:
    """A symmetry type: ``settings`` are those of ``kappa`` and ``num_fixed`` that it takes.

    ``gated``: fixed gates stand in the place of the activations. ``rule``: ``module:name`` of what it fixes and how.
    """

    name: str
    rule: str
    settings: tuple[str, ...] = ()
    gated: bool = False


# In the order of the reference code's numbers 0..3.
SYMMETRIES: dict[str, SymmetryType] = {
    symmetry.name: symmetry
    for symmetry in (
        SymmetryType(name="standard", rule="nid_cli.nets.symmetry:STANDARD"),
        SymmetryType(name="w", rule="nid_cli.nets.symmetry:W", settings=("kappa", "num_fixed")),
        SymmetryType(name="sigma", rule="nid_cli.nets.symmetry:SIGMA", gated=True),
        SymmetryType(name="syre", rule="nid_cli.nets.symmetry:SYRE", settings=("kappa",)),
    )
}


def symmetry_name(given: object) -> str:
    """A symmetry type by its name or the reference code's number 0..3.

    Raises:
        UsageError: neither.
    """
    text = str(given).strip().lower()
    if text in SYMMETRIES:
        return text
    if text in ("0", "1", "2", "3"):
        return list(SYMMETRIES)[int(text)]
    raise unknown("symmetry type", given, SYMMETRIES)
