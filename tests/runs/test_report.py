"""The report page: complete, self-contained, and safe whatever classes and files are called."""

from __future__ import annotations

import time
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from markupsafe import Markup
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from cnnlab.cli import app
from cnnlab.data import ArraySplit, ImageData
from cnnlab.errors import ModelError
from cnnlab.runs import Recorder, Run, report, train
from cnnlab.runs.report import mistakes, model_table, most_confused, next_steps, write_report
from cnnlab.training import StepDone, fit
from cnnlab.training.metrics import CLASS_COLUMNS, ClassMetrics, evaluate_scores
from tests.helpers import make_bars, tiny_recipe
from tests.runs.helpers_runs import copy_run, make_photos, with_scores

pytestmark = pytest.mark.usefixtures("no_report")  # of trainings; the tests write the reports they read


class Page(HTMLParser):
    """What a browser would see: tags, attributes, text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def tiny_page(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of the tiny run."""
    return Page(write_report(copy_run(tiny_run, tmp_path_factory.mktemp("page") / "run")))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that are read for their text have empty figures: drawing takes most of the time."""
    monkeypatch.setattr(report, "_curves", lambda run: [Markup("<svg></svg>")])
    monkeypatch.setattr(report, "_figure", lambda run, name, figure: Markup("<svg></svg>"))
    monkeypatch.setattr(report.figures, "save", lambda figure, path: path)


def assert_self_contained(page: Page) -> None:
    for tag, key, value in page.attributes:
        if key in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert value.startswith(("data:", "#")), f"{tag} {key}={value[:80]}"
        assert not key.startswith("on"), f"{tag} has a script in {key}"
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert "@import" not in page.source
    assert "url(http" not in page.source


def test_the_page_of_a_finished_run(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    for old in (run.path / "figures").glob("*"):
        old.unlink()
    started = time.process_time()
    path = write_report(run)
    assert time.process_time() - started < 20  # CPU seconds, other tests run beside it
    assert path == run.path / "report.html"
    assert path.stat().st_size < 3_000_000
    page = Page(path)
    assert_self_contained(page)
    logits, labels = run.scores()
    metrics = evaluate_scores(logits, labels, run.classes)
    for expected in (
        f"{metrics.accuracy:.2%}",
        f"{metrics.accuracy_interval[0]:.2%}",
        "mean over classes",
        "First-layer filters",
        "BatchNorm2d",
        f"{sum(p.numel() for p in run.model().parameters()):,}",
        "batch_size",
        str(run.env["torch"]),
        "prefers-color-scheme: dark",
        "@media print",
        *next_steps(run),
    ):
        assert expected in page.text, expected
    assert page.tags.count("svg") >= 6
    wrong = int((logits.argmax(1) != labels).sum())
    assert page.tags.count("img") == min(wrong, 24) > 0
    names = {"curves.png", "confusion.png", "reliability.png", "filters.png", "mistakes.png"}
    assert {file.name for file in (run.path / "figures").iterdir()} == names
    with Image.open(run.path / "figures" / "confusion.png") as image:
        assert image.width > 300


def test_every_value_of_a_class_is_a_column_wherever_classes_are_listed(
    tiny_run: Run, tiny_page: Page, tmp_path: Path
) -> None:
    assert ["name", *(column.key for column in CLASS_COLUMNS)] == [field.name for field in fields(ClassMetrics)]
    csv_file = tmp_path / "classes.csv"
    table = CliRunner().invoke(app, ["evaluate", str(tiny_run.path), "--csv", str(csv_file)]).stdout
    for column in CLASS_COLUMNS:
        assert column.title in tiny_page.text
        assert column.title in table
    assert csv_file.read_text().splitlines()[0] == "class," + ",".join(column.key for column in CLASS_COLUMNS)


def test_ids_of_the_figures_do_not_collide(tiny_page: Page) -> None:
    ids = [value for _, key, value in tiny_page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    assert "nan" not in tiny_page.text.lower().split()
    assert "None" not in tiny_page.text


def test_hostile_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    classes = [
        '<script>alert("x")</script>',
        "a & b {{ 7 * 7 }}",
        '"><img src=http://evil.example/x.png onerror=alert(1)>',
    ]
    files = [f"<b>{i}</b>/$x$_'\"{i}.png" for i in range(24)]
    made = make_bars(size=16)
    test = ArraySplit(made.test.pixels, made.test.labels, files)  # type: ignore[union-attr, attr-defined]
    data = ImageData("<i>data</i>", classes, made.train, None, test, "made up", skipped=[("<u>.png", "<blink>broken")])
    run = train(tiny_recipe(epochs=1), out=tmp_path / "run", data=data)
    _, labels = run.scores()
    with_scores(run, np.roll(np.eye(3)[labels] * 5, 1, axis=1), labels, files)
    page = Page(write_report(run, data))
    assert_self_contained(page)
    assert classes[0] in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "<b>" in page.text
    assert "<blink>broken" in page.text
    assert not {"b", "blink", "u"} & set(page.tags)
    assert page.tags.count("img") == 24, "only the pictures of the mistakes"


def test_worst_mistakes_are_the_surest_with_their_own_pictures(tiny_run: Run, tmp_path: Path) -> None:
    data = make_bars(size=16)
    run = train(tiny_recipe(epochs=1), out=tmp_path / "run", data=data)
    _, labels = run.scores()
    truth = np.eye(3)[labels]
    scores = truth * 5
    scores[7] = np.roll(truth[7], 1) * 9  # the surest mistake
    scores[3] = np.roll(truth[3], 1) * 4
    notes: list[str] = []
    found = mistakes(run, scores, labels, data, 24, notes)
    assert [m.name for m in found] == ["test #7", "test #3"]
    assert found[0].confidence == pytest.approx(np.exp(9) / (np.exp(9) + 2))
    assert found[0].truth == data.classes[labels[7]]
    assert found[0].prediction == data.classes[(labels[7] + 1) % 3]
    assert found[0].picture is not None
    assert data.test is not None
    assert (found[0].picture == data.test.pixels[7, 0].numpy()).all()  # type: ignore[attr-defined]
    assert notes == []
    assert len(mistakes(run, scores, labels, data, 1, notes)) == 1
    assert mistakes(run, scores * 0 + truth, labels, data, 24, notes) == []


@pytest.mark.usefixtures("no_figures")
def test_data_that_is_gone_costs_the_pictures_only(tmp_path: Path) -> None:
    run = train(tiny_recipe(data="made-up-and-gone", epochs=1), out=tmp_path / "run", data=make_bars(size=16))
    _, labels = run.scores()
    with_scores(run, np.roll(np.eye(3)[labels], 1, axis=1), labels)
    page = Page(write_report(run))
    assert "Pictures of the mistakes are missing" in page.text
    assert "test #0" in page.text
    assert "img" not in page.tags


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("changed", [False, True])
def test_the_curves_are_explained_by_what_the_recipe_does(tmp_path: Path, changed: bool) -> None:
    settings = ["augment.crop=2", "label_smoothing=0.1"] if changed else []
    run = train(tiny_recipe(epochs=1).with_overrides(settings), out=tmp_path / "run", data=make_bars(size=16))
    text = " ".join(Page(write_report(run)).text.split())
    assert ("on augmented images" in text) is changed
    assert ("smoothed labels" in text) is changed


@pytest.mark.usefixtures("no_figures")
def test_photos_show_their_file_names(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos")
    (photos / "train" / "bees" / "broken.jpg").write_bytes(b"no image")
    run = train(tiny_recipe(data=str(photos), image_size=16, epochs=1), out=tmp_path / "run")
    _, labels = run.scores()
    files = [row.split(",")[2] for row in (run.path / "predictions.csv").read_text().splitlines()[1:]]
    with_scores(run, np.roll(np.eye(2)[labels], 1, axis=1), labels, files)
    page = Page(write_report(run))
    assert "bees_3.png" in page.text
    assert "broken.jpg" in page.text
    assert page.tags.count("img") == len(labels)
    assert "Unreadable files" in page.text


def test_an_unfinished_run_has_a_page_too(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    for name in ("scores.npz", "predictions.csv", "metrics.csv"):
        (run.path / name).unlink()
    run.update_summary(status="interrupted")
    page = Page(write_report(run))
    assert "interrupted" in page.text
    assert "cnnlab resume" in page.text


class Shared(nn.Module):
    """Uses one layer twice, has a parameter of its own, and a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.unused = nn.Linear(5, 5)
        self.scale = nn.Parameter(torch.ones(7))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 6 * 6, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.again(self.again(self.first(x))))  # type: ignore[no-any-return]


def test_model_table_counts_each_parameter_once() -> None:
    model = Shared().train()
    model.first.eval()
    table = {row.name: row for row in model_table(model, (3, 6, 6))}
    assert list(table)[:3] == ["first", "again", "head.0"]
    assert table["first"].output == (1, 4, 6, 6)
    assert table["first"].own_parameters == 3 * 4 * 9 + 4
    assert table["again"].calls == 2
    assert table["unused"].calls == 0
    assert table[""].own_parameters == 7
    assert sum(row.own_parameters for row in table.values()) == sum(p.numel() for p in model.parameters())
    assert [name for name, module in model.named_modules() if not module.training] == ["first"], "modes are kept"
    assert not any(module._forward_hooks for module in model.modules()), "no hook is left behind"


def test_the_model_table_of_a_network_that_cannot_take_the_image() -> None:
    with pytest.raises(ModelError, match=r"Shared cannot run on inputs of shape \(1, 5, 6, 6\)"):
        model_table(Shared(), (5, 6, 6))


@pytest.mark.usefixtures("no_figures")
def test_a_network_without_convolution_has_no_filters(tmp_path: Path) -> None:
    run = train(tiny_recipe(model="mlp", model_options={}, epochs=1), out=tmp_path / "run", data=make_bars(size=8))
    assert "First-layer filters" not in Page(write_report(run)).text


def test_most_confused_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    guesses = np.array([1, 1, 0, 2, 1, 0, 2])
    rows = most_confused(evaluate_scores(np.eye(3)[guesses], labels, ["a", "b", "c"]), 2)
    assert rows == [
        {"truth": "a", "prediction": "b", "count": 2, "share": 0.5},
        {"truth": "a", "prediction": "c", "count": 1, "share": 0.25},
    ]


def test_a_run_that_was_cut_off_after_an_epoch_gets_a_page(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run")
    stream = recorder.record(fit(tiny_recipe(epochs=5), data=make_bars(n_val=12)))
    for event in stream:
        if isinstance(event, StepDone) and event.epoch == 2:
            break
    stream.close()
    assert recorder.run is not None
    assert recorder.run.status == "interrupted"
    page = write_report(recorder.run, make_bars(n_val=12)).read_text(encoding="utf-8")
    assert "interrupted" in page
    assert "<svg" in page  # the curve of the epoch that was done
