"""How alike two networks predict (docs/science.md, 12), streamed over the samples."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nid_cli.data.file import UNCOUNTED
from nid_cli.records.similarity import Predicted


class PredictionTally:
    """Sums over batches, in float64 and without synchronizing."""

    def __init__(self) -> None:
        self.answers: Tensor | int = 0
        self.alike: Tensor | int = 0
        self.wrong: Tensor | int = 0
        self.wrong_alike: Tensor | int = 0
        self.divergence: Tensor | float = 0.0
        self.cosine: Tensor | float = 0.0
        self.directed: Tensor | int = 0

    def add(self, a: Tensor, b: Tensor, targets: Tensor) -> None:
        """Adds the logits of both networks for one batch of targets, as ``data.tensors.Split`` describes these."""
        a, b = a.double(), b.double()
        labels = targets.is_floating_point()
        if targets.ndim == 2 and not labels:
            counted = targets != UNCOUNTED
            a, b, targets = a[counted], b[counted], targets[counted]
        if labels:
            one, other, right = a > 0, b > 0, targets > 0.5
            # Each label is a distribution of its own, over yes and no.
            p, q = (torch.stack([F.logsigmoid(z), F.logsigmoid(-z)], -1) for z in (a, b))
        else:
            one, other, right = a.argmax(-1), b.argmax(-1), targets
            p, q = (F.log_softmax(z, -1) for z in (a, b))
        same, some_wrong = one == other, (one != right) | (other != right)
        self.answers = self.answers + same.numel()
        self.alike = self.alike + same.sum()
        self.wrong = self.wrong + some_wrong.sum()
        self.wrong_alike = self.wrong_alike + (same & some_wrong).sum()
        self.divergence = self.divergence + _jensen_shannon(p, q).sum()
        u, v = (z - z.mean(-1, keepdim=True) for z in (a, b))
        lengths = u.norm(dim=-1) * v.norm(dim=-1)
        directed = lengths != 0
        self.cosine = self.cosine + ((u * v).sum(-1) / lengths)[directed].sum()
        self.directed = self.directed + directed.sum()

    def result(self) -> Predicted:
        """The means; None where they are over nothing."""
        return Predicted(
            agreement=_share(self.alike, self.answers),
            jensen_shannon=_share(self.divergence, self.answers),
            logit_cosine=_share(self.cosine, self.directed),
            error_overlap=_share(self.wrong_alike, self.wrong),
        )


def _jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """(KL(p, m) + KL(q, m)) / 2 over the last axis, m = (p + q) / 2, of log-probabilities; 0 to ln 2 nats."""
    middle = torch.logaddexp(p, q) - math.log(2)
    divergence = (p.exp() * (p - middle) + q.exp() * (q - middle)).sum(-1) / 2
    return divergence.clamp(0, math.log(2))  # which rounding alone leaves


def _share(total: Tensor | float, count: Tensor | int) -> float | None:
    return float(total) / int(count) if int(count) else None
