"""What covariances and costs may take."""

from __future__ import annotations

from collections.abc import Sequence

from nid_cli.errors import UsageError

# Bytes of one covariance that is held in memory.
LARGEST_COVARIANCE = 2**32


def refuse_wide(sizes: Sequence[tuple[str, int]]) -> None:
    """Refuses covariances that would take more memory than ``LARGEST_COVARIANCE`` bytes.

    Args:
        sizes: name and inputs of each chosen layer, in the order of their indices.

    Raises:
        UsageError: one is too wide; the hint chooses the others.
    """
    wide = [(name, inputs) for name, inputs in sizes if 8 * inputs * inputs > LARGEST_COVARIANCE]
    if wide:
        name, inputs = wide[0]
        others = [own for own, _ in sizes if own not in dict(wide)]
        raise UsageError(
            f"the covariance of the {inputs} inputs of {name} would take {8 * inputs**2 / 2**30:.1f} GiB "
            f"(and its decomposition several times that), more than {LARGEST_COVARIANCE >> 30} GiB",
            f"--layers {','.join(others)}" if others else "leave the layer out with --layers",
        )


def refuse_many(sizes: Sequence[tuple[str, int]]) -> None:
    """Refuses matrices of all pairs of a layer's neurons that would take more than ``LARGEST_COVARIANCE`` bytes.

    Raises:
        UsageError: one would; the hint chooses the others.
    """
    many = [(name, neurons) for name, neurons in sizes if 8 * neurons * neurons > LARGEST_COVARIANCE]
    if many:
        name, neurons = many[0]
        others = [own for own, _ in sizes if own not in dict(many)]
        raise UsageError(
            f"the costs of all pairs of the {neurons} neurons of {name} would take {8 * neurons**2 / 2**30:.1f} GiB, "
            f"more than {LARGEST_COVARIANCE >> 30} GiB",
            f"--layers {','.join(others)}" if others else "leave the layer out with --layers",
        )


def check_share(explained_variance: float) -> None:
    """Refuses what is no share of a variance.

    Raises:
        UsageError: it is none.
    """
    if not 0 < explained_variance <= 1:
        raise UsageError(f"explained-variance must lie above 0 and not above 1, not {explained_variance}")
