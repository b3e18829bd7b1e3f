"""Augmentation: every result is a crop of the padded image or of its mirror image, and only training sees it."""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from nid_cli.data.augment import PADDING, flip_and_crop
from nid_cli.data.load import load
from nid_cli.graphs import graph_of
from nid_cli.nets.symmetry import Constraint, initial_state, rule_of
from nid_cli.recipes import resolve
from nid_cli.training.loop import Snapshot, train_model


def test_each_image_is_a_crop_of_itself_or_its_mirror_image() -> None:
    images = torch.randint(1, 256, (200, 3, 5, 7), dtype=torch.uint8)
    found = flip_and_crop(images, torch.Generator().manual_seed(0))
    assert found.shape == images.shape and found.dtype == torch.uint8
    seen = set()
    for image, result in zip(images, found, strict=True):
        crops = {}
        for mirrored, source in ((False, image), (True, image.flip(2))):
            padded = F.pad(source, (PADDING,) * 4)
            for down in range(2 * PADDING + 1):
                for right in range(2 * PADDING + 1):
                    crops[mirrored, down, right] = padded[:, down : down + 5, right : right + 7]
        matching = [key for key, crop in crops.items() if torch.equal(crop, result)]
        assert matching
        seen.update(matching)
    assert {m for m, _, _ in seen} == {False, True}
    assert {d for _, d, _ in seen} == {r for _, _, r in seen} == set(range(2 * PADDING + 1))


def test_one_generator_state_gives_one_result() -> None:
    images = torch.randint(256, (10, 1, 8, 8), dtype=torch.uint8)
    first, again, other = (flip_and_crop(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_training_alone_sees_augmented_images() -> None:
    data = load("digits", {"train_size": 64}, Path("/nonexistent"))
    spec, _ = resolve({"arch": "resnet", "width": 1, "epochs": 1})
    graph = graph_of(spec)
    start = Snapshot(0, initial_state(rule_of("standard"), graph, {}, None, 1))

    def epochs(augmented: bool) -> list:
        return list(train_model(graph, spec, replace(data, augmented=augmented), Constraint(), {}, start, order_seed=3))

    (before, after), (plain_before, plain_after), (_, again) = epochs(True), epochs(False), epochs(True)
    assert before.metrics == plain_before.metrics
    assert after.metrics["train"] != plain_after.metrics["train"]
    assert after.metrics == again.metrics
    assert torch.equal(next(replace(data, augmented=True).batches("train", 9))[0], next(data.batches("train", 9))[0])


def test_a_resumed_training_sees_the_same_augmentation() -> None:
    data = replace(load("digits", {"train_size": 64}, Path("/nonexistent")), augmented=True)
    spec, _ = resolve({"arch": "resnet", "width": 1, "epochs": 2})
    graph = graph_of(spec)
    start = Snapshot(0, initial_state(rule_of("standard"), graph, {}, None, 1))
    middle = None
    for epoch in train_model(graph, spec, data, Constraint(), {}, start, order_seed=3):
        if epoch.snapshot.epoch == 1:
            state, optimizer = (
                {n: t.clone() for n, t in s.items()} for s in (epoch.snapshot.state, epoch.snapshot.optimizer)
            )
            middle = Snapshot(1, state, optimizer)
    [again] = train_model(graph, spec, data, Constraint(), {}, middle, order_seed=3)
    assert again.metrics == epoch.metrics
    assert all(torch.equal(tensor, epoch.snapshot.state[name]) for name, tensor in again.snapshot.state.items())
