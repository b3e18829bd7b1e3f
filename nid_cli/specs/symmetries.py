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
    ``label``: what stands before the architecture in figures (None: its name). ``reference``: who proposed it.
    """

    name: str
    rule: str
    settings: tuple[str, ...] = ()
    gated: bool = False
    label: str | None = None
    reference: str = ""

    @property
    def prefix(self) -> str:
        """What stands before the architecture in figures."""
        label = self.name if self.label is None else self.label
        return f"{label}-" if label else ""


# In the order of the reference code's numbers 0..3.
SYMMETRIES: dict[str, SymmetryType] = {
    symmetry.name: symmetry
    for symmetry in (
        SymmetryType(name="standard", rule="nid_cli.nets.symmetry:STANDARD", label=""),
        SymmetryType(
            name="w",
            rule="nid_cli.nets.symmetry:W",
            settings=("kappa", "num_fixed"),
            label="W",
            reference="Lim et al. 2024",
        ),
        SymmetryType(
            name="sigma",
            rule="nid_cli.nets.symmetry:SIGMA",
            gated=True,
            label=r"$\sigma$",
            reference="Lim et al. 2024",
        ),
        SymmetryType(
            name="syre", rule="nid_cli.nets.symmetry:SYRE", settings=("kappa",), reference="Ziyin et al. 2025"
        ),
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
