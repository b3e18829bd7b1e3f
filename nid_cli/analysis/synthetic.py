"""The synthetic experiment (docs/science.md, 9): does a coherent input subspace help masked neurons to connect?

A teacher of two Gaussian variables is seen through a map B whose column space has a chosen coherence; pairs of masked
one-layer students learn it, and the barrier between the two is measured. The default experiment trains 2,000 networks.
They are trained side by side, exactly as one by one, and two identities keep the arithmetic small:

- x = z B^T has rank 2, so a student needs of its masked weights V (inputs x neurons) only the 2 x neurons matrix B^T V.
- weights that are masked, or whose input is always 0, never reach the function, nor do neurons with no other weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nid_cli.analysis.catalog import FAMILIES
from nid_cli.analysis.synthetic_settings import (
    DATA_SEED,
    FRAME_SEED,
    MASK_SEED,
    MODEL_SEED,
    MODEL_STRIDE,
    SyntheticSettings,
    check_integer,
)
from nid_cli.lazy import resolve
from nid_cli.records.synthetic import Synthetic

# Pairs trained side by side: with fewer, the calls cost more than their arithmetic; with more, only memory grows.
PAIRS_AT_ONCE = 10
EVALUATION_BATCH = 512
# AdamW's averages of the gradient and of its square, and what keeps it from dividing by 0: PyTorch's defaults.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8

# The columns of a sample: z1, z2, one for the bias, and the target, which rides along with the sample.
Z, ONE, TARGET, COLUMNS = slice(0, 2), 2, 3, 4


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU: the same draws on every device."""
    return torch.Generator().manual_seed(seed)


def exact_copy(copies: int, active: int, outer_seed: int, axis_aligned: bool = False) -> Tensor:
    """Rows 2i and 2i+1 are e1 and e2 over sqrt(active), for the first ``active`` copies; the others are 0."""
    frame = torch.zeros(copies, 2, 2, dtype=torch.float64)
    frame[:active] = torch.eye(2, dtype=torch.float64) / math.sqrt(active)
    return frame.flatten(0, 1)


def random_tight_frame(copies: int, active: int, outer_seed: int, axis_aligned: bool = False) -> Tensor:
    """``exact_copy`` with each pair of rows rotated by its own angle in [0, pi), and the rows permuted.

    The draws do not depend on ``active``: one more active copy joins those that were there.
    """
    generator = seeded(FRAME_SEED + outer_seed)
    angles = math.pi * torch.rand(copies, generator=generator, dtype=torch.float64)
    places = torch.randperm(2 * copies, generator=generator)
    if axis_aligned and active == 1:
        angles = torch.zeros_like(angles)
    cos, sin = angles.cos(), angles.sin()
    rotations = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    upright = exact_copy(copies, active, outer_seed).unflatten(0, (copies, 2))
    frame = torch.empty(2 * copies, 2, dtype=torch.float64)
    frame[places] = (upright @ rotations).flatten(0, 1)
    return frame


def draw_mask(settings: SyntheticSettings, outer_seed: int) -> Tensor:
    """Which weights are active (2c x width, bool): inputs x neurons, shared by all students of an outer seed."""
    generator = seeded(MASK_SEED + outer_seed)
    shape = (2 * settings.copies, settings.width)
    return torch.rand(shape, generator=generator, dtype=torch.float64) < settings.density


def draw_data(settings: SyntheticSettings, outer_seed: int) -> tuple[Tensor, Tensor]:
    """Training and test samples (N x 4, float64): z1, z2, one, and the teacher's relu(z1 + z2)."""
    z = torch.randn(
        settings.train_samples + settings.test_samples, 2, generator=seeded(DATA_SEED + outer_seed), dtype=torch.float64
    )
    samples = torch.cat([z, torch.ones(len(z), 1, dtype=z.dtype), z.sum(1, keepdim=True).relu()], 1)
    return samples[: settings.train_samples], samples[settings.train_samples :]


def draw_models(settings: SyntheticSettings, outer_seed: int, pairs: Iterable[int]) -> tuple[Tensor, Tensor]:
    """The initial weights of the students of ``pairs``, the two of a pair side by side: M students in all.

    Each seed gives first the weights, then the orders; they are the same for every family and number of active copies.

    Returns:
        initial weights (2c x M x width, float64), and the order in which each student sees the training samples in
        each epoch (M x epochs x N).
    """
    weights, orders = [], []
    for seed in (MODEL_SEED + MODEL_STRIDE * outer_seed + 2 * pair + member for pair in pairs for member in (0, 1)):
        generator = seeded(seed)
        shape = (2 * settings.copies, settings.width)
        weights.append(settings.init_sd * torch.randn(shape, generator=generator, dtype=torch.float64))
        epochs = [torch.randperm(settings.train_samples, generator=generator) for _ in range(settings.epochs)]
        orders.append(torch.stack(epochs) if epochs else torch.empty(0, settings.train_samples, dtype=torch.int64))
    return torch.stack(weights, 1), torch.stack(orders)


@dataclass
class Students:
    """M students of one input map, reduced to what reaches their functions.

    ``parameters`` is (k + 1) x M x n: the weights of the k inputs that B does not hold at 0, masked weights being 0,
    and last the biases; of the n neurons that have such a weight. ``lift`` ((k + 1) x 4) takes them to the map of a
    sample's four columns: B for z, 1 for the bias, 0 for the target.

    What is left out changes nothing, so training and function are exact. The gradient of an unseen weight is always 0:
    AdamW only shrinks it, and treats each number by itself. A neuron without weights is the constant relu(b), and as b
    starts at 0, where the gradient of relu is 0 (as in PyTorch), it stays 0.
    """

    parameters: Tensor
    mask: Tensor
    lift: Tensor

    @classmethod
    def initial(
        cls, frame: Tensor, mask: Tensor, weights: Tensor, dtype: torch.dtype, device: torch.device
    ) -> Students:
        """Students at their initial weights (2c x M x width), behind the map ``frame`` (2c x 2) and ``mask``."""
        seen = frame.any(1)
        alive = mask[seen].any(0)
        active = mask[seen][:, None, alive]
        biases = torch.zeros_like(weights[:1, :, alive])
        parameters = torch.cat([weights[seen][:, :, alive] * active, biases])
        lift = torch.zeros(len(parameters), COLUMNS, dtype=frame.dtype)
        lift[:-1, Z] = frame[seen]
        lift[-1, ONE] = 1
        trained = torch.cat([active, torch.ones_like(active[:1])])
        return cls(*(tensor.to(device, dtype) for tensor in (parameters, trained, lift)))

    def maps(self) -> Tensor:
        """For each student and neuron its pre-activation as a linear function of a sample's columns (M x 4 x n)."""
        flat = self.lift.T @ self.parameters.flatten(1)
        return flat.unflatten(1, self.parameters.shape[1:]).transpose(0, 1)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """From the gradient by ``maps()`` that by ``parameters``."""
        flat = self.lift @ gradient.transpose(0, 1).flatten(1)
        return flat.unflatten(1, self.parameters.shape[1:]) * self.mask


def errors(samples: Tensor, maps: Tensor, values: Tensor) -> Tensor:
    """Each student's output minus target (M x N), of ``samples`` (M x N x 4) and ``maps`` (M x 4 x n).

    Args:
        values: receives the neurons' activations, M x N x n.
    """
    return torch.bmm(samples, maps, out=values).relu_().sum(2) - samples[:, :, TARGET]


def mse_gradient(samples: Tensor, maps: Tensor, values: Tensor) -> Tensor:
    """Gradient of each student's mean squared error by its map (M x 4 x n); ``values`` is overwritten."""
    error = errors(samples, maps, values) * (2 / samples.shape[1])
    return torch.bmm((samples * error[:, :, None]).transpose(1, 2), values.gt_(0))


class AdamW:
    """PyTorch's AdamW (its ``betas`` and ``eps``) for one tensor, without the price of a call for each step."""

    def __init__(self, parameters: Tensor, learning_rate: float, weight_decay: Tensor) -> None:
        """``weight_decay`` broadcasts to ``parameters``, which are updated in place."""
        self.parameters, self.learning_rate = parameters, learning_rate
        self.shrink = 1 - learning_rate * weight_decay
        self.mean, self.square = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self.root = torch.empty_like(parameters)
        self.steps = 0

    def step(self, gradient: Tensor) -> None:
        """One update. The two bias corrections are taken into the step size and epsilon."""
        self.steps += 1
        scale = math.sqrt(1 - BETA_2**self.steps)
        size = self.learning_rate * scale / (1 - BETA_1**self.steps)
        self.mean.lerp_(gradient, 1 - BETA_1)
        self.square.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        torch.sqrt(self.square, out=self.root).add_(EPSILON * scale)
        self.parameters.mul_(self.shrink).addcdiv_(self.mean, self.root, value=-size)


def train(students: Students, samples: Tensor, orders: Tensor, settings: SyntheticSettings) -> None:
    """Trains all students in place, each as if alone: nothing that a step computes mixes two of them.

    Args:
        samples: the training samples, N x 4; an epoch's last batch may be smaller.
        orders: M x epochs x N.
    """
    decay = torch.full_like(students.parameters[:, :1, :1], settings.weight_decay)
    decay[-1] = 0
    optimizer = AdamW(students.parameters, settings.learning_rate, decay)
    models, _, count = orders.shape
    neurons = students.parameters.shape[2]
    # One buffer for all steps: a fresh one of this size would be mapped and cleared by the system each time.
    buffer = samples.new_empty(models * min(settings.batch_size, count) * neurons)
    for order in orders.unbind(1):
        epoch = samples.index_select(0, order.flatten()).unflatten(0, (models, count))
        for batch in epoch.split(settings.batch_size, 1):
            shape = (models, batch.shape[1], neurons)
            values = buffer[: math.prod(shape)].view(shape)
            optimizer.step(students.pull_back(mse_gradient(batch, students.maps(), values)))


def losses(students: Students, samples: Tensor, lambdas: Iterable[float]) -> Tensor:
    """MSE of the pairs (students 2i and 2i+1) along their segments (lambdas x pairs, float64); ``samples``: N x 4."""
    maps = students.maps()
    first, second = maps[0::2], maps[1::2]
    rows = []
    for weight in lambdas:
        # The pre-activations are linear in the parameters: the map of the mean is the mean of the maps.
        between = torch.lerp(first, second, weight)
        total = torch.zeros(len(between), dtype=torch.float64, device=samples.device)
        for batch in samples.split(EVALUATION_BATCH):
            values = batch.new_empty(len(between), len(batch), between.shape[2])
            error = errors(batch.expand(len(between), -1, -1), between, values)
            total += error.double().square().sum(1)
        rows.append(total / len(samples))
    return torch.stack(rows)


def run(
    settings: SyntheticSettings,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    pairs_at_once: int = PAIRS_AT_ONCE,
    threads: int | None = None,
    outer_seeds: Iterable[int] | None = None,
    advance: Callable[[int], None] = lambda models: None,
) -> list[Synthetic]:
    """The experiment: outer seed by outer seed, and in each every family and number of active copies.

    Args:
        dtype: of training and evaluation; the draws are float64 and do not depend on it.
        pairs_at_once: pairs trained side by side; it changes results by rounding only.
        threads: input maps worked on at a time, PyTorch's number by default (1 on a GPU); it changes no result.
        outer_seeds: only these of ``range(settings.outer_seeds)``; each is an experiment of its own.
        advance: told in this thread how many more students are trained; ``settings.models`` in all.
    """
    check_integer("pairs_at_once", pairs_at_once, 1)
    device = torch.device(device)
    threads = threads or (torch.get_num_threads() if device.type == "cpu" else 1)
    cases = [(family, active) for family in settings.families for active in range(1, settings.copies + 1)]
    records = []
    with _workers(threads) as pool:
        for outer_seed in range(settings.outer_seeds) if outer_seeds is None else outer_seeds:
            mask = draw_mask(settings, outer_seed)
            data = tuple(samples.to(device, dtype) for samples in draw_data(settings, outer_seed))
            for start in range(0, settings.num_pairs, pairs_at_once):
                pairs = range(start, min(start + pairs_at_once, settings.num_pairs))
                weights, orders = draw_models(settings, outer_seed, pairs)
                measure = partial(_measure, settings, outer_seed, mask, weights, orders.to(device), data)
                for (family, active), curves in zip(cases, pool.map(measure, cases), strict=True):
                    advance(2 * len(pairs))
                    found = zip(pairs, curves, strict=True)
                    records += [_record(family, active, outer_seed, pair, curve, settings) for pair, curve in found]
    return records


@contextmanager
def _workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads with one core each: cut into pieces of a fraction of a millisecond, a step would mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _measure(
    settings: SyntheticSettings,
    outer_seed: int,
    mask: Tensor,
    weights: Tensor,
    orders: Tensor,
    data: tuple[Tensor, ...],
    case: tuple[str, int],
) -> list[list[float]]:
    """Trains students behind one input map: for each pair its test MSE at every lambda, and last that at 1/2."""
    train_samples, test_samples = data
    family, active = case
    frame = resolve(FAMILIES[family])(settings.copies, active, outer_seed, settings.axis_aligned_endpoint)
    students = Students.initial(frame, mask, weights, test_samples.dtype, test_samples.device)
    train(students, train_samples, orders, settings)
    return losses(students, test_samples, [*lambdas(settings), 0.5]).T.tolist()


def lambdas(settings: SyntheticSettings) -> list[float]:
    """The points of the segments, from 0 (the pair's first student) to 1."""
    return [i / (settings.points - 1) for i in range(settings.points)]


def _record(
    family: str, active: int, outer_seed: int, pair: int, found: list[float], settings: SyntheticSettings
) -> Synthetic:
    *curve, middle = found
    worse = max(curve[0], curve[-1])
    return Synthetic(
        family=family,
        active_copies=active,
        coherence=1 / active,
        outer_seed=outer_seed,
        pair=pair,
        lambdas=lambdas(settings),
        test_loss=curve,
        barrier_mid=middle - worse,
        barrier_peak=max(curve) - worse,
    )
