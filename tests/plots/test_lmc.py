"""The data in the artists, not the pixels."""

import numpy as np

from nid_cli.plots.lmc import draw, table
from nid_cli.plots.style import group_labels, look


def record(group: str, symmetry: str, kappa: object, align: str, height: float) -> dict:
    x = [0.0, 0.5, 1.0]
    return {
        "result_id": f"{group}-{align}-{height}", "group": group, "arch": "mlp", "dataset": "digits",
        "symmetry": symmetry, "kappa": kappa, "align": align,
        "epoch": 3, "status": "ok", "lambdas": x,
        "train_accuracy": [100.0, 100 - height, 100.0], "train_loss": [0.0, height, 0.0],
    }  # fmt: skip


def test_the_figure_shows_means_over_pairs_in_words_and_mathematics() -> None:
    records = [record("a", "w", 1.0, align, h) for align in ("none", "activation") for h in (2.0, 4.0)]
    records += [record("b", "standard", None, "none", 20.0)]
    records += [{**record("c", "sigma", None, "activation", 0.0), "status": "not_applicable"}]
    figure = draw(records)
    assert len(figure.axes) == 4
    assert [axis.get_title() for axis in figure.axes[:2]] == ["no alignment", "aligned by activations"]
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert set(lines) == {r"W-MLP, $\kappa = 1$ (2 pairs)", "MLP (1 pair)"}
    w = lines[r"W-MLP, $\kappa = 1$ (2 pairs)"]
    np.testing.assert_allclose(w.get_ydata(), [100, 97, 100])
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([band.min(), band.max()], [97 - 2**0.5, 100])
    assert figure.axes[1].get_lines()[0].get_color() == w.get_color()


def test_titles_say_that_networks_were_repaired() -> None:
    records = [{**record("a", "w", 1.0, "none", 2.0), "repair": "closed"}]
    assert draw(records).axes[0].get_title() == "no alignment,\nclosed repair"
    assert [row["repair"] for row in table(records)] == ["closed"]
    assert "repair" not in table([record("a", "w", 1.0, "none", 2.0)])[0]


def test_groups_of_equal_settings_stay_apart_in_the_legend() -> None:
    a, b = record("x", "w", 1.0, "none", 1.0), record("x-2", "w", 1.0, "none", 1.0)
    names = group_labels([a, b])
    assert len(set(names.values())) == 2 and all("W-MLP" in n for n in names.values())


def test_epochs_are_lines_of_their_own() -> None:
    records = [{**record("a", "w", 1.0, "none", h), "epoch": e} for e, h in ((0, 9.0), (5, 1.0))]
    lines = draw(records).axes[0].get_lines()
    assert [line.get_label() for line in lines] == [rf"W-MLP, $\kappa = 1$, epoch {e} (1 pair)" for e in (0, 5)]


def test_paths_of_one_model_say_their_epochs() -> None:
    path = {**record("a", "w", 1.0, "none", 1.0), "epoch": 5}
    figure = draw([{**path, "epoch_a": e} for e in (0, 2, 2)])
    labels = [line.get_label() for line in figure.axes[0].get_lines()]
    named = [rf"W-MLP, $\kappa = 1$, epoch {e} to 5 ({n})" for e, n in ((0, "1 model"), (2, "2 models"))]
    assert labels == named and "earlier to later epoch" in figure.axes[1].get_xlabel()


def test_looks_differ_over_the_papers_sweep() -> None:
    kappas = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, [1.0, 1.0, 0.5, 0.25]]
    usual = [("standard", None), ("sigma", None), *((s, k) for s in ("w", "syre") for k in kappas)]
    looks = [tuple(look({"symmetry": s, "kappa": k}).values()) for s, k in usual]
    assert len(set(looks)) == len(looks)
