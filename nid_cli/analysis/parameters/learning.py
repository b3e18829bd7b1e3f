"""The steps of a learned alignment, which every analysis that aligns takes."""

from __future__ import annotations

from collections.abc import Sequence

from nid_cli.errors import UsageError
from nid_cli.specs import ALIGNMENTS

# Where no others are chosen.
LEARN_STEPS: int = ALIGNMENTS["learned"].parameters.learn_steps


def know_learning(align: Sequence[str], steps: int) -> None:
    """Refuses steps that cannot be, and some that were chosen for no alignment.

    Raises:
        UsageError: see above.
    """
    for name in align:
        ALIGNMENTS[name].parameters_of({"learn_steps": steps})
    if steps != LEARN_STEPS and not any("learn_steps" in ALIGNMENTS[name].chosen for name in align):
        raise UsageError(
            "--learn-steps belongs to the alignment learned, which is not chosen", "--align weight,learned"
        )
