"""What the figures show: the data in their artists, and that all their words can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from nid_cli.plots import (
    anatomy,
    barrier,
    coherence,
    cost,
    cost_matrix,
    lmc,
    match,
    merge,
    ntk,
    similarity,
    style,
    summary,
    swaps,
    synthetic,
    training,
)
from nid_cli.specs import ALIGNMENTS, MERGES
from tests.plots import made

KAPPAS = (0.0, 0.1, 1.0)


def lines(axis: Any) -> dict[str, Any]:
    """An axis's lines by their labels; those that a legend leaves out have an underscore."""
    return {str(line.get_label()): line for line in axis.get_lines()}


def of_pairs() -> list[dict]:
    sweep = [
        made.pair(made.group(kappa=k), h, a) for k in KAPPAS for h in (10 - k, 12 - k) for a in ("none", "activation")
    ]
    return sweep + [made.pair(made.group("standard", None), h) for h in (4.0, 6.0)]


def of_matching(layers: tuple[Any, ...] = (0, 1)) -> list[dict]:
    return [
        made.match(
            made.group(kappa=k), layer, optimal=0.9, identity=0.9 * k * (1 - 0.1 * i), neurons=4 + 8 * i, pair=pair
        )
        for k in KAPPAS
        for i, layer in enumerate(layers)
        for pair in (2, 3)
    ]


def of_similarity(layers: tuple[Any, ...] = (0, 1), align: Sequence[str] = ("none", "activation")) -> list[dict]:
    """Two pairs of three groups; alignment does not apply to the last."""
    found = []
    for of in (made.group(), made.group("standard", None), made.group("sigma", None)):
        for value, pair in ((0.4, 2), (0.8, 3)):
            each = [made.similarity(of, value, own, layers, pair) for own in align]
            found += each[:1] if of["symmetry"] == "sigma" else each
        if of["symmetry"] == "sigma":
            found.append(dict.fromkeys(found[0]) | of | {"align": "activation", "status": "not_applicable"})
    return found


def of_anatomy(layers: tuple[Any, ...] = (0, 1)) -> list[dict]:
    """Two pairs of three groups, unaligned and aligned, which helps by half; it does not apply to the last."""
    found = []
    for of in (made.group(), made.group("standard", None), made.group("sigma", None)):
        for height in (1.0, 3.0):
            found.append(made.anatomy(of, height, layers=layers))
            aligned = made.anatomy(of, height / 2, "activation", layers)
            refused = dict.fromkeys(aligned) | of | {"align": "activation", "status": "not_applicable"}
            found.append(refused if of["symmetry"] == "sigma" else aligned)
    return found


def of_repair() -> list[dict]:
    return of_anatomy() + [r | {"repair": "exact"} for r in of_anatomy() if r["status"] == "ok"]


def of_merges(counts: tuple[int, ...] = (4,), **settings: Any) -> list[dict]:
    """Merges of three groups; only the models as they are of the last."""
    found = []
    for of, align in (
        (made.group("standard", None, **settings), list(MERGES)),
        (made.group(**settings), list(MERGES)),
        (made.group("sigma", None, **settings), ["none"]),
    ):
        for count in counts:
            found += [made.merge(of, 0.5 + 0.1 * place, name, count) for place, name in enumerate(align)]
    refused = dict.fromkeys(found[0]) | made.group("sigma", None, **settings)
    return [*found, refused | {"align": "many", "status": "not_applicable"}]


def of_shares() -> list[dict]:
    shares = (0.09375, 0.305254, 0.59375)
    groups = [made.group(num_fixed=[i]) | {"fixed_share": share} for i, share in enumerate(shares)]
    return [made.match(g, layer, 0.9, g["fixed_share"]) for g in groups for layer in (0, 1, 2)]


def of_dimensions() -> list[dict]:
    groups = [made.group(data={"k": k}) for k in (2, 8, 32, 128)]
    return [made.match(g, layer, 0.9, 0.5) for g in groups for layer in (0, 1, 2)]


def of_costs(method: str = "mahalanobis") -> list[dict]:
    groups = [made.group(kappa=kappa, data={"k": k}) for kappa in (0.0, 1.0) for k in (32, 2, 8)]
    return [made.cost(g, 0, made.swaps(6, 1 + 9 * g["kappa"], seed), method) for seed, g in enumerate(groups)]


def of_coherence(layers: tuple[Any, ...] = (0, 1)) -> list[dict]:
    groups = (made.group(), made.group("standard", None))
    found = [
        made.coherence(g, layer, 0.3 + 0.1 * model, 0.4 if g["kappa"] else 0.0, model)
        for g in groups
        for layer in layers
        for model in (1, 3)
    ]
    found += [made.coherence(g, "output", 0.9, None) for g in groups]
    for r in found:
        if r["group"] == groups[1]["group"]:
            r["anisotropy_bounds"] = {"0.05": 0.0}
    return found


def of_kernels() -> list[dict]:
    groups = [made.group(epoch=epoch) for epoch in (0, 2, 5)]
    found = [made.ntk(g, 2.0 + model, 0.1 * g["epoch"], model) for g in groups for model in (1, 3)]
    return found + [made.ntk(made.group("standard", None, epoch=epoch), 3.0, None) for epoch in (0, 5)]


def of_epochs() -> list[dict]:
    return [r for model, last in ((1, 1.0), (2, 3.0)) for r in made.epochs(made.group(), [8.0, 4.0, last], model)]


def of_synthetic() -> list[dict]:
    return [
        made.synthetic(family, copies, 0.1 * copies + 0.02 * pair, pair)
        for family in synthetic.FAMILIES
        for copies in (1, 2, 4)
        for pair in (0, 1)
    ]


def of_summary() -> list[dict]:
    w = made.group()
    parts = {
        "training": of_epochs(),
        "lmc": [made.pair(w, h, a) for h in (1.0, 3.0) for a in ("none", "activation")],
        "match": [made.match(w, layer, 0.9, 0.8) for layer in (0, 1)],
        "cost": [made.cost(w, layer, made.swaps(6)) for layer in (0, 1)],
        "coherence": [r for r in of_coherence() if r["symmetry"] == "w"],
    }
    return [r | {"part": part} for part, own in parts.items() for r in own]


RESNET = ("stem.conv", *(f"stage{i}.0.conv{j}" for i in (1, 2, 3) for j in (1, 2)), "linear")


def of_alignments() -> list[dict]:
    refused = made.pair(made.group("sigma", None), 5.0, "activation") | {"status": "not_applicable"}
    sigma = [made.pair(made.group("sigma", None), 5.0), refused]
    others = [made.pair(made.group(), height, align) for height, align in ((1.0, "weight"), (0.5, "learned"))]
    return [*of_pairs(), *others, *sigma]


def of_layers(layers: tuple[Any, ...]) -> list[dict]:
    return [made.cost(made.group(), layer, made.swaps(6)) for layer in layers]


FIGURES: dict[str, Callable[[int], Figure]] = {
    "lmc": lambda c: lmc.draw(of_pairs(), columns=c),
    "lmc, all alignments": lambda c: lmc.draw(of_alignments(), "val", columns=c),
    "anatomy": lambda c: anatomy.draw(of_anatomy(), columns=c),
    "anatomy, resnet": lambda c: anatomy.draw(of_anatomy(RESNET), "train", columns=c),
    "anatomy, repaired": lambda c: anatomy.draw(of_repair(), columns=c),
    "barrier": lambda c: barrier.draw(of_pairs(), columns=c),
    "barrier, max": lambda c: barrier.draw(of_alignments(), split="val", kind="max", columns=c),
    "barrier, mid": lambda c: barrier.draw(of_pairs(), split="val", kind="mid", columns=c),
    "match": lambda c: match.draw(of_matching((0, 1, 2)), columns=c),
    "match, fixed": lambda c: match.draw(of_shares(), against="fixed", columns=c),
    "match, k": lambda c: match.draw(of_dimensions(), against="k", columns=c),
    "match, resnet": lambda c: match.draw(of_matching(("stream.1", "stage1.block0", "stream.2")), columns=c),
    "similarity": lambda c: similarity.draw(of_similarity(), columns=c),
    "similarity, all alignments": lambda c: similarity.draw(of_similarity(align=tuple(ALIGNMENTS)), columns=c),
    "merge": lambda c: merge.draw(of_merges(), columns=c),
    "merge, many groups": lambda c: merge.draw([r for k in (0, 1) for r in of_merges(depth=k + 2)], columns=c),
    "merge, over models": lambda c: merge.draw(of_merges((2, 4, 8)), "train", columns=c),
    "similarity, resnet": lambda c: similarity.draw(of_similarity(RESNET), "train", columns=c),
    "matrix": lambda c: cost.draw(of_costs() + of_costs("ridge"), across="k", columns=c),
    "distribution": lambda c: cost.draw(of_costs(), kind="distribution", across="k", columns=c),
    "matrix, layers": lambda c: cost.draw(of_layers((0, 1, 2, 3)), columns=c),
    "matrix, resnet": lambda c: cost.draw(of_layers(RESNET[: 3 * c]), columns=c),
    "scatter": lambda c: cost.draw(of_costs("ridge"), kind="scatter", across="k", columns=c),
    "scatter, one": lambda c: cost.draw(of_costs("ridge")[:1], kind="scatter", columns=c),
    "scatter, models": lambda c: cost.draw(of_costs("ridge") + of_costs("ridge"), "scatter", "k", columns=c),
    "coherence": lambda c: coherence.draw(of_coherence(), columns=c),
    "coherence, resnet": lambda c: coherence.draw(of_coherence(("conv1", "stage1.block0.conv1")), columns=c),
    "coherence, epochs": lambda c: coherence.draw(of_coherence((0, 1, 2, 3)), against="epoch", columns=c),
    "coherence, resnet, epochs": lambda c: coherence.draw(of_coherence(RESNET[: 3 * c]), against="epoch", columns=c),
    "ntk": lambda c: ntk.draw(of_kernels(), columns=c),
    "synthetic": lambda c: synthetic.draw(of_synthetic(), columns=c),
    "training": lambda c: training.draw(of_epochs(), columns=c),
    "summary": lambda c: summary.draw(of_summary(), columns=c),
}  # fmt: skip


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("name", FIGURES)
def test_all_words_lie_inside_the_page_and_none_over_another(name: str, columns: int, monkeypatch) -> None:
    figure = FIGURES[name](columns)
    assert figure.get_figwidth() == style.WIDTHS[columns]
    drawn: dict[Text, None] = {}
    draw = Text.draw
    monkeypatch.setattr(Text, "draw", lambda text, *given: (drawn.update({text: None}), draw(text, *given))[1])
    with style.styled():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    page, boxes = figure.bbox.padded(1), []
    for text in (t for t in drawn if t.get_visible() and t.get_text().strip()):
        box = text.get_window_extent(canvas.get_renderer())
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, text
        boxes.append((text.get_text(), box.padded(-1)))
    assert len(boxes) > 5
    assert [(a, b) for (a, x), (b, y) in combinations(boxes, 2) if x.overlaps(y)] == []


def test_barriers_stand_over_kappa_with_0_in_its_place() -> None:
    axis = barrier.draw(of_pairs()).axes[0]
    [line] = [t for t in axis.get_lines() if t.get_label() == "_W-MLP" and t.get_linestyle() == "-"]
    np.testing.assert_allclose(line.get_xdata(), KAPPAS)
    np.testing.assert_allclose(line.get_ydata(), [11, 10.9, 10])
    assert axis.get_xscale() == "symlog" and "_break" in lines(axis)
    assert [t.get_text() for t in axis.get_xticklabels()] == ["0", ".1", "1"]
    points = {
        t.get_xdata()[0]: t.get_color() for t in axis.get_lines() if len(t.get_xdata()) == 1 and t.get_marker() == "o"
    }
    assert points == {k: style.look(made.group(kappa=k))["color"] for k in KAPPAS}
    np.testing.assert_allclose(lines(axis)["_MLP"].get_ydata(), [5, 5])  # no kappa: a level line


def test_barriers_over_epochs_have_a_line_a_group() -> None:
    records = [made.pair(made.group(kappa=k, epoch=e), k + e) for k in KAPPAS for e in (0, 5)]
    rows = barrier.table(records, "epoch")
    assert {row["series"] for row in rows} == {rf"W-MLP, $\kappa = {k:g}$" for k in KAPPAS}
    axis = barrier.draw(records, "epoch").axes[0]
    np.testing.assert_allclose(lines(axis)[r"_W-MLP, $\kappa = 1$"].get_xydata(), [[0, 1], [5, 6]])


def test_matching_is_shown_layer_by_layer_and_pooled_over_neurons() -> None:
    figure = match.draw(of_matching())
    assert [axis.get_title() for axis in figure.axes] == ["first layer", "second layer", "all layers"]
    for axis, factor in zip(figure.axes, (0.9, 0.81, (4 * 0.9 + 12 * 0.81) / 16), strict=True):
        optimal, identity = (
            next(t for t in axis.get_lines() if t.get_label() == "_W-MLP" and t.get_linestyle() == dash)
            for dash in ("-", "--")
        )
        np.testing.assert_allclose(optimal.get_ydata(), 0.9)
        np.testing.assert_allclose(identity.get_xydata(), [[k, factor * k] for k in KAPPAS])
        assert axis.collections  # the band of random permutations
    pooled = [row for row in match.table(of_matching()) if row["layer"] == match.POOLED]
    assert pooled[0]["random_sd_mean"] == pytest.approx(0.01 * (4**2 + 12**2) ** 0.5 / 16) and pooled[0]["count"] == 2


def test_similarity_shows_layers_predictions_and_each_alignment() -> None:
    by_layer, predicted, updated = similarity.draw(of_similarity(), "val").axes

    def drawn(axis: Any, name: str, place: int) -> list[float]:
        own = [c for c in axis.containers if c.get_label() == f"_{name}"]
        return [float(y) for y in own[place].lines[0].get_ydata()]

    assert [t.get_text() for t in by_layer.get_xticklabels()] == ["1", "2"]
    for place in range(3):  # the groups
        np.testing.assert_allclose(drawn(by_layer, "cka", place), [0.6, 0.3])
        np.testing.assert_allclose(drawn(by_layer, "cka_debiased", place), [0.54, 0.27])
        np.testing.assert_allclose(drawn(predicted, "agreement", place), [0.6 * 2 * 0.3])
        np.testing.assert_allclose(drawn(predicted, "error_overlap", place), [0.6 * 2 * 0.2])
        np.testing.assert_allclose(drawn(updated, "update_cosine", place), [0.12, 0.24][: 1 if place == 2 else 2])
    assert [t.get_text() for t in updated.get_xticklabels()] == ["no\nalignment", "by\nactivations"]
    rows = similarity.table(of_similarity(), "val")
    assert {(r["symmetry"], r["align"]) for r in rows} == {
        (symmetry, align) for symmetry in ("w", "standard", "sigma") for align in ("none", "activation")
    } - {("sigma", "activation")}
    assert rows[0]["update_cosine_sd"] == pytest.approx(0.2 * np.std([0.4, 0.8], ddof=1)) and rows[0]["count"] == 2


def test_a_merge_stands_beside_its_parts_and_their_ensemble() -> None:
    accuracy, loss = merge.draw(of_merges(), "val").axes
    assert accuracy.get_xticklabels()[0].get_text() == "MLP"
    for axis, share in ((accuracy, 2 * 10), (loss, None)):
        points = {line.get_label(): line.get_ydata()[0] for line in axis.get_lines()[: 3 + len(MERGES)]}
        for place, name in enumerate(MERGES):
            value = 0.5 + 0.1 * place
            assert points[f"_{name}"] == pytest.approx(share * value if share else 1 / (2 * value))
    levels = [line.get_ydata()[0] for line in accuracy.get_lines()[:3]]
    assert levels == pytest.approx([2 * 20 * 0.5, 2 * 25 * 0.5, 2 * 30 * 0.5])
    rows = merge.table(of_merges(), "val")
    assert [(r["symmetry"], r["align"]) for r in rows] == [
        *((symmetry, name) for symmetry in ("standard", "w") for name in MERGES), ("sigma", "none"),
    ]  # fmt: skip
    assert rows[0]["models"] == 4 and rows[0]["ensemble_accuracy"] == 30 and rows[0]["pairwise_cycle_error"] == 0.5


def test_merges_of_more_and_more_models_are_lines() -> None:
    figure = merge.draw(of_merges((8, 2, 4)))
    assert len(figure.axes) == 6 and {axis.get_xlabel() for axis in figure.axes[3:]} == {"number of models"}
    [line] = [line for line in figure.axes[0].get_lines() if line.get_label() == "_cycle"]
    assert list(line.get_xdata()) == [2, 4, 8] and set(np.round(line.get_ydata(), 9)) == {24.0}


def test_a_similarity_without_values_is_left_out() -> None:
    lacking = [r | {"update_cosine": None, "cka": [None, 0.5]} for r in of_similarity()[:1]]
    by_layer, _, updated = similarity.draw(lacking).axes
    assert not updated.containers and len(by_layer.containers[0].lines[0].get_ydata()) == 1


def test_an_anatomy_shows_depth_at_the_middle_and_gain_and_cost_over_lambda() -> None:
    records = of_anatomy()
    records[0]["variance_ratio_mid"] = [None, 0.5]  # a layer that is constant in both ends of this pair
    apart, left, gain, cost = anatomy.draw(records, "val").axes

    def drawn(axis: Any, name: str) -> list[list[float]]:
        return [c.lines[0].get_ydata().tolist() for c in axis.containers if c.get_label() == f"_{name}"]

    assert [t.get_text() for t in apart.get_xticklabels()] == ["1", "2"]
    unaligned, aligned = [0.02, 0.04], [0.01, 0.02]
    np.testing.assert_allclose(
        drawn(apart, "feature_connectivity"), [unaligned, aligned, unaligned, aligned, unaligned]
    )
    np.testing.assert_allclose(drawn(left, "variance_ratio")[0], [0.94, (0.5 + 0.88) / 2])
    assert [len(axis.get_lines()) for axis in (gain, cost)] == [3, 5]  # aligning does not change the gain
    x, y = cost.get_lines()[0].get_data()
    assert y[2] == max(y) == pytest.approx(2 * 0.2) and x[2] == 0.5
    assert max(gain.get_lines()[0].get_ydata()) == pytest.approx(0.04)
    assert {line.get_linestyle() for line in cost.get_lines()} == {"-", "--"}
    repaired = anatomy.draw(of_repair(), "val").axes
    assert [len(axis.get_lines()) for axis in repaired[2:]] == [3, 10]
    assert [line.get_fillstyle() for line in repaired[3].get_lines()].count("none") == 5
    [whole] = [
        r for r in anatomy.table(records, "val") if (r["symmetry"], r["align"], r["layer"]) == ("w", "none", None)
    ]
    assert whole["val_calibrated_loss_barrier_mean"] == pytest.approx(0.2) and whole["count"] == 2


def test_swap_costs_share_one_signed_scale_a_row() -> None:
    figure = cost.draw(of_costs(), across="k")
    panels = [axis for axis in figure.axes if axis.get_images()]
    assert [axis.get_title() for axis in panels[:3]] == ["$k = 2$", "$k = 8$", "$k = 32$"]
    shown = {(r["kappa"], r["settings"]["data"]["k"]): r["swap_squared"] for r in of_costs()}
    for down, kappa in enumerate((0.0, 1.0)):
        row = panels[3 * down : 3 * down + 3]
        [(low, high)] = {axis.get_images()[0].get_clim() for axis in row}
        assert low == -high < 0
        for axis, k in zip(row, (2, 8, 32), strict=True):
            values = axis.get_images()[0].get_array()
            np.testing.assert_allclose(values * np.abs(values), shown[kappa, k])
    assert len({axis.get_images()[0].get_clim() for axis in panels}) == 2


def test_the_scale_of_swap_costs_shows_the_sign_in_grey_too() -> None:
    brightness = np.array(cost_matrix.SIGNED(np.linspace(0, 1, 101)))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) < 0).all() and brightness[0] - brightness[50] > 0.03


def test_distributions_and_scatter_hold_each_pair_of_neurons_once() -> None:
    records = of_costs("ridge")
    upper = np.triu_indices(6, 1)
    expected = swaps.signed_root(records[0]["swap_squared"][upper])
    distribution = cost.table(records, "distribution", "k")[0]
    assert distribution["median"] == pytest.approx(np.median(expected))
    axis = cost.draw(records, "scatter", "k").axes[0]
    x, y = axis.collections[0].get_offsets().T
    np.testing.assert_allclose(y, expected)
    np.testing.assert_allclose(x, 2**0.5 * expected)
    assert axis.get_title().endswith("\nrank correlation 1.00")
    flat = cost.draw([made.cost(made.group("standard", None), 0, np.zeros((4, 4)))], "distribution").axes[0]
    np.testing.assert_allclose(lines(flat)["MLP"].get_xdata(), 0)


def test_coherence_shows_means_bounds_and_the_output() -> None:
    figure = coherence.draw(of_coherence())
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "2", "output"]
    means = next(c for c in figure.axes[0].containers if str(c.get_label()).startswith("W-MLP"))
    np.testing.assert_allclose(means.lines[0].get_ydata(), [0.5, 0.5, 0.9])
    np.testing.assert_allclose(lines(figure.axes[0])["_least_coherence"].get_ydata(), 0.25)
    bounds = [t for t in figure.axes[2].get_lines() if t.get_label() == "_anisotropy_bound"]
    assert len(bounds) == 1  # the standard group has no mask, and no bound
    np.testing.assert_allclose(bounds[0].get_ydata(), 1.5)


def test_kernels_are_drawn_over_epochs_and_what_a_group_lacks_is_not() -> None:
    drawn = {axis.get_ylabel(): lines(axis) for axis in ntk.draw(of_kernels()).axes}
    assert set(drawn) == set(ntk.QUANTITIES.values())
    rank = drawn[ntk.QUANTITIES["effective_rank"]]
    np.testing.assert_allclose(rank[r"W-MLP, $\kappa = 1$"].get_xdata(), [0, 2, 5])
    np.testing.assert_allclose(rank[r"W-MLP, $\kappa = 1$"].get_ydata(), 4)
    np.testing.assert_allclose(rank["MLP"].get_ydata(), 3)
    moved = drawn[ntk.QUANTITIES["init_change"]]
    np.testing.assert_allclose(moved[r"W-MLP, $\kappa = 1$"].get_ydata(), [0, 0.2, 0.5])
    assert "MLP" not in moved
    rows = ntk.table(of_kernels())
    assert [row["count"] for row in rows] == [2, 2, 2, 1, 1] and rows[0]["trace_sd"] == pytest.approx(1e5 * 2**0.5)
    assert "init_cka_mean" in rows[0] and "init_cka_mean" not in rows[-1]
    # One epoch has one tick, and no band that its legend could tell of.
    once = ntk.draw([r for r in of_kernels() if r["epoch"] == 5])
    assert all(list(axis.get_xticks()) == [5] and axis.get_ylim()[1] > axis.dataLim.y1 for axis in once.axes)
    assert len(once.axes[0].collections) == 1 and not once.legends[0].get_patches()
    # Where no group has an epoch 0, the panels say so.
    without = ntk.draw([r for r in of_kernels() if r["init_cka"] is None])
    assert sum(t.get_text() == "no epoch 0" for t in without.findobj(Text)) == 4


def test_the_synthetic_figure_orders_by_coherence_and_shows_both_ends() -> None:
    barriers, most, least = synthetic.draw(of_synthetic()).axes
    for line in barriers.get_lines():
        np.testing.assert_allclose(line.get_xdata(), [0.25, 0.5, 1])
        np.testing.assert_allclose(line.get_ydata(), [0.41, 0.21, 0.11])
    assert most.get_title() == r"$\nu = 1$" and max(most.get_lines()[0].get_ydata()) == pytest.approx(0.11)
    assert least.get_title() == r"$\nu = 0.25$" and max(least.get_lines()[0].get_ydata()) == pytest.approx(0.41)


def test_training_shows_every_seed_and_their_mean() -> None:
    axis = training.draw(of_epochs()).axes[0]
    np.testing.assert_allclose(lines(axis)[r"W-MLP, $\kappa = 1$ (2 seeds)"].get_ydata(), [8, 4, 2])
    assert {tuple(lines(axis)[f"_model {m}"].get_ydata()) for m in (1, 2)} == {(8, 4, 1), (8, 4, 3)}


def test_a_summary_of_one_untrained_model_says_what_it_lacks() -> None:
    w = made.group(epochs=0, epoch=0)
    parts = {"cost": [made.cost(w, 0, made.swaps(6))], "coherence": [made.coherence(w, 0, 0.5)]}
    figure = summary.draw([r | {"part": part} for part, own in parts.items() for r in own])
    said = " ".join(t.get_text() for t in figure.findobj(Text))
    assert "not trained here" in said and "a single model has no pairs" in said and "Untrained" in said


def test_groups_are_told_apart_by_what_differs_and_no_more() -> None:
    groups = [made.group(data={"k": k, "d": 512}) for k in (2, 8)] + [made.group("standard", None, data={"k": 2})]
    assert list(style.group_labels(groups).values()) == [
        r"W-MLP, $\kappa = 1$, $k = 2$",
        r"W-MLP, $\kappa = 1$, $k = 8$",
        "MLP",
    ]
    assert set(style.group_labels(groups, without="k").values()) == {r"W-MLP, $\kappa = 1$", "MLP"}
    batch = made.group(norm="batch")
    assert list(style.group_labels([made.group(), batch]).values())[1] == r"W-MLP, $\kappa = 1$, batch norm"
    assert style.label({"arch": "resnet", "symmetry": "w", "kappa": 2.0}) == r"W-ResNet, $\kappa = 2$"


def test_greater_kappas_are_darker() -> None:
    for symmetry in ("w", "syre"):
        colors = [mpl.colors.to_rgb(style.look(made.group(symmetry, k))["color"]) for k in (0, 0.01, 0.1, 0.5, 1, 2, 5)]
        assert (np.diff(np.array(colors) @ [0.2126, 0.7152, 0.0722]) < 0).all()
