"""The synthetic experiment against plain networks trained one by one, and by its properties."""

import math
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pytest
import torch
from torch import Tensor, nn

from nid_cli.analysis.catalog import FAMILIES
from nid_cli.analysis.synthetic import (
    AdamW,
    Students,
    SyntheticSettings,
    draw_data,
    draw_mask,
    draw_models,
    exact_copy,
    lambdas,
    losses,
    random_tight_frame,
    run,
    train,
)  # fmt: skip
from nid_cli.errors import UsageError
from nid_cli.lazy import resolve

# Small, with a last batch of its own size in each epoch.
SMALL = SyntheticSettings(
    copies=3,
    width=16,
    density=0.3,
    outer_seeds=2,
    num_pairs=2,
    train_samples=40,
    test_samples=50,
    batch_size=16,
    epochs=6,
    points=5,
)
CASES = [(family, active) for family in FAMILIES for active in range(1, 11)]


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products gain nothing from threads, and on a busy machine wait for them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Student(nn.Module):
    """Section 9's student, word by word: all weights trained, the mask applied at each use."""

    def __init__(self, weight: Tensor, mask: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(torch.zeros(len(weight), dtype=weight.dtype))
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ (self.mask * self.weight).T + self.bias).sum(1)


def plain_student(settings: SyntheticSettings, seed: int, mask: Tensor, x: Tensor, y: Tensor) -> Student:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(2 * settings.copies, settings.width, generator=generator, dtype=torch.float64)
    student = Student(settings.init_sd * drawn.T, mask)
    groups = [
        {"params": [student.weight], "weight_decay": settings.weight_decay},
        {"params": [student.bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
    for _ in range(settings.epochs):
        for batch in torch.randperm(len(x), generator=generator).split(settings.batch_size):
            optimizer.zero_grad()
            nn.functional.mse_loss(student(x[batch]), y[batch]).backward()
            optimizer.step()
    return student


def plain_curve(settings: SyntheticSettings, family: str, active: int, outer_seed: int, pair: int) -> list[float]:
    frame = resolve(FAMILIES[family])(settings.copies, active, outer_seed, settings.axis_aligned_endpoint)
    generator = torch.Generator().manual_seed(20_000 + outer_seed)
    count = settings.train_samples
    z = torch.randn(count + settings.test_samples, 2, generator=generator, dtype=torch.float64)
    x, y = z @ frame.T, torch.relu(z[:, 0] + z[:, 1])
    generator = torch.Generator().manual_seed(10_000 + outer_seed)
    chances = torch.rand(2 * settings.copies, settings.width, generator=generator, dtype=torch.float64)
    mask = (chances < settings.density).T
    seeds = (40_000 + 1000 * outer_seed + 2 * pair + member for member in (0, 1))
    a, b = (plain_student(settings, seed, mask, x[:count], y[:count]) for seed in seeds)
    curve = []
    for i in range(settings.points):
        share = i / (settings.points - 1)
        between = Student(torch.lerp(a.weight, b.weight, share).detach(), mask)
        between.bias.data = torch.lerp(a.bias, b.bias, share).detach()
        with torch.no_grad():
            curve.append(nn.functional.mse_loss(between(x[count:]), y[count:]).item())
    return curve


@pytest.mark.parametrize("axis_aligned", [False, True])
def test_batched_training_equals_training_one_by_one(axis_aligned: bool) -> None:
    settings = replace(SMALL, axis_aligned_endpoint=axis_aligned)
    records = run(settings, dtype=torch.float64)
    assert len(records) == settings.models // 2 == 24
    for r in records:
        plain = plain_curve(settings, r.family, r.active_copies, r.outer_seed, r.pair)
        assert r.test_loss == pytest.approx(plain, abs=1e-9, rel=1e-9)
        assert r.barrier_mid == pytest.approx(plain[2] - max(plain[0], plain[-1]), abs=1e-9)
        assert r.barrier_peak == pytest.approx(max(plain) - max(plain[0], plain[-1]), abs=1e-9)


def test_the_full_recipe_equals_training_one_by_one() -> None:
    settings = SyntheticSettings(outer_seeds=1, num_pairs=1, epochs=8)
    records = run(replace(settings, families=("random_tight_frame",)), dtype=torch.float64)
    for r in (records[0], records[6]):
        plain = plain_curve(settings, r.family, r.active_copies, 0, 0)
        assert r.test_loss == pytest.approx(plain, abs=1e-9, rel=1e-9)
        assert plain[0] < 0.2


def test_single_precision_gives_the_same_barriers() -> None:
    settings = replace(SMALL, train_samples=256, epochs=30)
    for single, double in zip(run(settings), run(settings, dtype=torch.float64), strict=True):
        assert single.test_loss == pytest.approx(double.test_loss, abs=1e-3)


@pytest.mark.parametrize(("family", "active"), CASES)
@pytest.mark.parametrize("outer_seed", [0, 3])
def test_input_maps_are_orthonormal_and_have_their_coherence(family: str, active: int, outer_seed: int) -> None:
    frame = resolve(FAMILIES[family])(10, active, outer_seed, False)
    assert frame.shape == (20, 2)
    torch.testing.assert_close(frame.T @ frame, torch.eye(2, dtype=torch.float64))
    inputs = torch.randn(50, 2, dtype=torch.float64) @ frame.T
    basis = torch.linalg.svd(inputs, full_matrices=False).Vh[:2]
    assert basis.square().sum(0).max().item() == pytest.approx(1 / active)
    assert int(frame.any(1).sum()) == 2 * active


def test_tight_frames_are_nested_rotated_and_axis_aligned_on_request() -> None:
    frames = [math.sqrt(active) * random_tight_frame(10, active, 1) for active in range(1, 11)]
    for smaller, larger in pairwise(frames):
        used = smaller.any(1)
        torch.testing.assert_close(smaller[used], larger[used])
    assert (frames[-1].abs() > 1e-3).all()
    aligned = random_tight_frame(10, 1, 1, True)
    assert sorted(aligned.sum(1).tolist())[-2:] == [1, 1] and int(aligned.count_nonzero()) == 2
    assert torch.equal(random_tight_frame(10, 2, 1, True), random_tight_frame(10, 2, 1, False))
    assert exact_copy(2, 1, 0).tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]


def test_draws_follow_their_own_seeds() -> None:
    settings = SyntheticSettings()
    assert draw_mask(settings, 0).double().mean() == pytest.approx(0.15, abs=0.02)
    assert not torch.equal(draw_mask(settings, 0), draw_mask(settings, 1))
    training, test = draw_data(settings, 2)
    assert (training.shape, test.shape) == ((1024, 4), (2048, 4))
    assert torch.equal(test[:, 3], (test[:, 0] + test[:, 1]).clamp_min(0)) and (test[:, 2] == 1).all()
    weights, orders = draw_models(SMALL, 1, [0, 1])
    later, their_orders = draw_models(SMALL, 1, [1])
    assert torch.equal(weights[:, 2:], later) and torch.equal(orders[2:], their_orders)
    assert torch.equal(orders.sort(2).values, torch.arange(40).expand_as(orders))
    assert not torch.equal(orders[0, 0], orders[0, 1]) and not torch.equal(orders[0], orders[1])


def test_adamw_equals_pytorchs() -> None:
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    theirs = [nn.Parameter(ours[:2].clone()), nn.Parameter(ours[2:].clone())]
    decay = torch.tensor([[0.3], [0.3], [0.0]], dtype=torch.float64)
    groups = [{"params": theirs[:1], "weight_decay": 0.3}, {"params": theirs[1:], "weight_decay": 0.0}]
    reference, optimizer = torch.optim.AdamW(groups, lr=0.05), AdamW(ours, 0.05, decay)
    for scale in (1, 1e-9, 0, 100, 1e-3, 1):
        gradient = scale * torch.randn(3, 4, generator=generator, dtype=torch.float64)
        theirs[0].grad, theirs[1].grad = gradient[:2], gradient[2:]
        reference.step()
        optimizer.step(gradient)
        torch.testing.assert_close(ours, torch.cat(theirs).detach(), rtol=1e-12, atol=1e-12)


def test_a_student_has_no_barrier_with_itself() -> None:
    weights, orders = draw_models(SMALL, 0, [0])
    twice = weights[:, [0, 0]], orders[[0, 0]]
    frame = exact_copy(SMALL.copies, 2, 0)
    training, test = (samples.float() for samples in draw_data(SMALL, 0))
    students = Students.initial(frame, draw_mask(SMALL, 0), twice[0], torch.float32, torch.device("cpu"))
    train(students, training, twice[1], SMALL)
    curve = losses(students, test, lambdas(SMALL))
    assert curve.shape == (5, 1) and (curve == curve[0]).all()


def test_results_repeat_and_do_not_depend_on_how_the_work_is_cut() -> None:
    records = run(SMALL)
    assert run(SMALL) == records
    assert run(SMALL, threads=1) == run(SMALL, threads=3) == records
    whole, cut = (run(SMALL, dtype=torch.float64, pairs_at_once=count) for count in (10, 1))
    key = lambda r: (r.outer_seed, r.family, r.active_copies, r.pair)  # noqa: E731
    for one, other in zip(sorted(whole, key=key), sorted(cut, key=key), strict=True):
        assert key(one) == key(other)
        assert one.test_loss == pytest.approx(other.test_loss, abs=1e-12)
    fewer = run(replace(SMALL, num_pairs=1, families=("random_tight_frame",)))
    kept = [r for r in records if r.pair == 0 and r.family == "random_tight_frame"]
    for one, other in zip(fewer, kept, strict=True):
        assert one.test_loss == pytest.approx(other.test_loss, abs=1e-4)


def test_progress_counts_every_student_and_threads_are_given_back() -> None:
    before, told = torch.get_num_threads(), []
    run(SMALL, pairs_at_once=1, advance=told.append)
    assert sum(told) == SMALL.models == 48 and len(told) == 24
    assert torch.get_num_threads() == before

    def stop(models: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(SMALL, advance=stop)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "changes", [{"density": 0.0}, {"density": 1.0}, {"epochs": 0}, {"points": 2}, {"batch_size": 999}, {"copies": 1}]
)
def test_extreme_settings_work(changes: dict) -> None:
    settings = replace(SMALL, outer_seeds=1, num_pairs=1, **changes)
    for r in run(settings, dtype=torch.float64):
        assert r.test_loss == pytest.approx(plain_curve(settings, r.family, r.active_copies, r.outer_seed, r.pair))
        assert len(r.lambdas) == len(r.test_loss) == settings.points
        assert r.lambdas[0] == 0 and r.lambdas[-1] == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"families": ()}, "at least one"),
        ({"families": ("exact_copy", "exact_copy")}, "distinct"),
        ({"families": ("frame",)}, "unknown family 'frame': choose from exact_copy, random_tight_frame"),
        ({"copies": 0}, "copies must be a whole number from 1"),
        ({"width": 2**63}, "width must be a whole number from 1 to 1000000"),
        ({"copies": 100_000}, "would train 20000000 students"),
        ({"width": 1.5}, "width"),
        ({"epochs": -1}, "epochs"),
        ({"points": 1}, "points"),
        ({"batch_size": True}, "batch_size"),
        ({"density": 1.5}, "density is a probability"),
        ({"density": math.nan}, "density is a probability"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"weight_decay": math.inf}, "weight_decay"),
        ({"num_pairs": 501}, "outer seeds share models"),
        ({"outer_seeds": 10_001}, "share seeds"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        SyntheticSettings(**changes)


def test_the_default_experiment_has_two_thousand_students() -> None:
    assert SyntheticSettings().models == 2000
    assert lambdas(SyntheticSettings())[10] == 0.5 and len(lambdas(SyntheticSettings())) == 21


def test_coherent_inputs_lower_the_barrier() -> None:
    settings = SyntheticSettings(outer_seeds=1, num_pairs=2, families=("exact_copy",))
    barriers: dict[int, list[float]] = {}
    for record in run(settings):
        barriers.setdefault(record.active_copies, []).append(record.barrier_mid)
    assert fmean(barriers[1]) < 0.05 and fmean(barriers[settings.copies]) > 0.1
