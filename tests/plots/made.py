"""Records as the registry gives them, with numbers made up so that what a figure must show is known."""

from __future__ import annotations

from typing import Any

import numpy as np

Record = dict[str, Any]

# What is made up is so many times as large on each split, and for each kind of barrier: no two products agree.
SPLITS = {"train": 1, "val": 2, "test": 3}
KINDS = {"": 1, "_max": 0.7, "_mid": 0.9}


def group(symmetry: str = "w", kappa: Any = 1.0, epoch: int = 5, **settings: Any) -> Record:
    """What every record of a group has; ``data`` and others go into its settings."""
    data = settings.pop("data", {})
    name = f"mlp-digits-{symmetry}-k{kappa}" + "".join(f"-{k}{v}" for k, v in (data | settings).items())
    full = {
        "arch": "mlp", "dataset": "digits", "data": data, "symmetry": symmetry, "kappa": kappa, "num_fixed": None,
        "width": 8, "depth": 3, "norm": "layer", "activation": "gelu", "optimizer": "adamw", "lr": 0.001,
        "weight_decay": 0.01, "batch_size": 64, "epochs": 5, **settings,
    }  # fmt: skip
    identity = {key: full[key] for key in ("arch", "dataset", "symmetry", "kappa")}
    share = 0.125 if symmetry == "w" else None
    return {"group": name, **identity, "epoch": epoch, "settings": full, "fixed_share": share}


def pair(of: Record, height: float, align: str = "none") -> Record:
    """An ``nid.lmc/1`` record whose curves bend by ``height`` in the middle, on the training split."""
    x = np.linspace(0, 1, 5)
    bend = height * (1 - np.abs(2 * x - 1))
    record = of | {"result_id": f"{of['group']}{height}{align}", "align": align, "status": "ok", "lambdas": x.tolist()}
    for split, times in SPLITS.items():
        record |= {f"{split}_accuracy": (100 - times * bend).tolist(), f"{split}_loss": (times * bend / 10).tolist()}
        for kind, share in KINDS.items():
            barrier = times * share * height
            record |= {f"{split}_error_barrier{kind}": barrier, f"{split}_loss_barrier{kind}": barrier / 10}
    return record


def match(of: Record, layer: Any, optimal: float, identity: float, neurons: int = 8, pair: int = 2) -> Record:
    """An ``nid.match/1`` record."""
    return of | {
        "result_id": f"{of['group']}{layer}{pair}", "model_a": 1, "model_b": pair, "layer": layer,
        "at": "post_activation", "similarity": "pearson", "optimal": optimal, "identity": identity,
        "random_mean": 0.0, "random_sd": 0.01, "permutation": list(range(neurons)),
    }  # fmt: skip


def merge(of: Record, value: float, align: str = "none", models: int = 4) -> Record:
    """An ``nid.merge/1`` record; each kind of value is another multiple of ``value``."""
    record = of | {
        "result_id": f"{of['group']}{value}{align}{models}", "models": list(range(1, models + 1)), "align": align,
        "bn_reset": False, "repair": None, "status": "ok", "objective": 10 * value, "pairwise_cycle_error": 0.5,
    }  # fmt: skip
    for split, times in SPLITS.items():
        for part, share in {"": 10, "parts_": 20, "best_": 25, "ensemble_": 30}.items():
            record |= {f"{split}_{part}accuracy": times * share * value, f"{split}_{part}loss": 1 / (times * value)}
    return record


def similarity(
    of: Record, value: float, align: str = "none", layers: tuple[Any, ...] = (0, 1), pair: int = 2
) -> Record:
    """An ``nid.similarity/1`` record; each kind of value is another multiple of ``value``, layers fall by halves."""
    record = of | {
        "result_id": f"{of['group']}{value}{align}{pair}", "model_a": 1, "model_b": pair, "align": align,
        "at": "post_activation", "since": "init", "status": "ok", "layers": list(layers),
        "cka": [value / 2**i for i in range(len(layers))],
        "cka_debiased": [0.9 * value / 2**i for i in range(len(layers))],
        "update_cosine": (0.2 if align == "none" else 0.4) * value,
    }  # fmt: skip
    for split, times in SPLITS.items():
        shares = {"agreement": 0.3, "error_overlap": 0.2, "logit_cosine": 0.1, "jensen_shannon": 0.05}
        record |= {f"{split}_{name}": times * share * value for name, share in shares.items()}
    return record


def anatomy(of: Record, height: float, align: str = "none", layers: tuple[Any, ...] = (0, 1)) -> Record:
    """An ``nid.lmc/1`` record with an anatomy: the cost bends by ``height``, the gain by a tenth of it; along depth
    layers drift from their chord by ``height`` more each, and lose as much of their variance."""
    record = pair(of, height, align) | {"epoch_a": None, "anatomy": True, "layers": list(layers)}
    bend = np.array(record["train_loss"])
    for split, times in SPLITS.items():
        record |= {f"{split}_merging_cost": (times * bend).tolist()}
        record |= {f"{split}_ensemble_gain": (times * bend / 10).tolist()}
        record[f"{split}_calibrated_loss_barrier"] = times * height / 20
    record["feature_connectivity_mid"] = [0.01 * height * (1 + i) for i in range(len(layers))]
    record["variance_ratio_mid"] = [1 - 0.02 * height * (1 + i) for i in range(len(layers))]
    return record


def cost(of: Record, layer: Any, swap: np.ndarray, method: str = "mahalanobis", model: int = 1) -> Record:
    """An ``nid.cost/1`` record; the ridge estimate has the other one beside it, twice as large."""
    record = of | {
        "result_id": f"{of['group']}{layer}{method}", "model": model, "layer": layer, "method": method,
        "neurons": len(swap), "swap_squared": swap,
    }  # fmt: skip
    ridge = {"beta": 0.01, "mahalanobis_swap_squared": 2 * swap, "rank_correlation": 1.0}
    return record | (ridge if method == "ridge" else {})


def swaps(size: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    """A symmetric matrix with zero diagonal and both signs."""
    values = np.random.default_rng(seed).normal(0.5, 1, (size, size)) * scale
    values = values + values.T
    np.fill_diagonal(values, 0)
    return values


def coherence(of: Record, layer: Any, value: float, anisotropy: float | None = 0.4, model: int = 1) -> Record:
    """An ``nid.coherence/1`` record of a subspace of 4 in 16 dimensions."""
    return of | {
        "result_id": f"{of['group']}{layer}{model}", "model": model, "layer": layer, "coherence": value,
        "subspace_dimension": 4, "full_dimension": 16, "explained_variance": 0.91, "anisotropy_mean": anisotropy,
        "anisotropy_bounds": {"0.05": 0.0 if anisotropy is None else 1.5},
    }  # fmt: skip


def ntk(of: Record, rank: float, moved: float | None, model: int = 1) -> Record:
    """An ``nid.ntk/1`` record of a kernel that ``moved`` so far from its initialization; None: it has none."""
    still = None if moved is None else 1 - moved
    return of | {
        "result_id": f"{of['group']}{of['epoch']}{model}", "model": model, "split": "train", "samples": 100,
        "trace": 1e5 * rank, "effective_rank": rank, "init_cka": still, "init_change": moved,
        "linear_relative_error": moved, "linear_agreement": still, "status": "ok", "reason": None,
    }  # fmt: skip


def epochs(of: Record, losses: list[float], model: int = 1) -> list[Record]:
    """The training metrics of one model, an epoch a loss on the training split."""
    return [
        of
        | {"model": model, "epoch": epoch}
        | {f"{split}_loss": times * loss for split, times in SPLITS.items()}
        | {f"{split}_accuracy": 100 - times * loss for split, times in SPLITS.items()}
        for epoch, loss in enumerate(losses)
    ]


def synthetic(family: str, copies: int, barrier: float, pair: int = 0) -> Record:
    """An ``nid.synthetic/1`` record."""
    x = np.linspace(0, 1, 5)
    return {
        "result_id": f"{family}{copies}{pair}", "family": family, "active_copies": copies, "coherence": 1 / copies,
        "outer_seed": 0, "pair": pair, "lambdas": x.tolist(), "test_loss": (barrier * (1 - np.abs(2 * x - 1))).tolist(),
        "barrier_mid": barrier, "barrier_peak": barrier,
    }  # fmt: skip
