"""Why a network answers as it does: the page says what Python says, holds everything itself, and bad input is named."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import cnnlab
from cnnlab.data.walk import image_files
from cnnlab.errors import DataError, ModelError, RunError, UnknownNameError, UsageError
from cnnlab.explain.compare import ExplainSettings
from cnnlab.runs import Classifier, Run, open_classifier
from cnnlab.runs.changed_photos import dream_photo, fool_photo
from cnnlab.runs.explain import explain_photo, explain_photos, method_options, write_contact_sheet, write_explanation
from cnnlab.runs.folder import file_name, new_folder

QUICK = ExplainSettings(faithfulness=False)


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.words = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    path = tmp_path / "a three.png"
    Image.fromarray((load_digits().images[3] * 15).astype(np.uint8)).save(path)
    return path


def test_the_answer_is_that_of_the_methods(tiny_run: Run, digit: Path) -> None:
    answer = explain_photo(tiny_run, digit, ["gradcam", "occlusion"])
    image = tiny_run.preprocess(digit)
    model = tiny_run.model()
    want = cnnlab.explain.gradcam(model, image, classes=tiny_run.classes)
    got = answer.comparison["gradcam"]
    np.testing.assert_allclose(got.values, want.values, atol=1e-6)
    assert got.layer == want.layer
    with torch.no_grad():
        shares = model(image).softmax(1)[0]
    assert answer.top[0] == (tiny_run.classes[int(shares.argmax())], pytest.approx(float(shares.max()), abs=1e-6))
    assert [p for _, p in answer.top] == sorted((p for _, p in answer.top), reverse=True)
    assert answer.target == answer.top[0][0]
    assert {"deletion", "insertion", "randomised agreement"} <= set(got.faithfulness)


def test_the_page_holds_everything_and_says_what_python_says(tiny_run: Run, digit: Path, tmp_path: Path) -> None:
    other = next(name for name in tiny_run.classes if name != tiny_run.predict(digit)[0].label)
    settings = ExplainSettings(target=other, options={"occlusion": {"window": 2}})
    answer = explain_photo(tiny_run, digit, ["gradcam", "occlusion"], settings)
    path = write_explanation(answer, tmp_path / "why")
    page = Page(path)
    for tag, key, value in page.attributes:
        if key in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/", "#")), f"{tag} {key}={value[:60]}"
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(http" not in page.source
    assert "@import" not in page.source
    assert "prefers-color-scheme: dark" in page.source
    assert page.tags.count("img") == 3
    label, share = answer.top[0]
    for expected in (
        label,
        f"{share:.1%}",
        "a three.png",
        tiny_run.name,
        "occlusion.window",
        "Grad-CAM",
        "another question",
    ):
        assert expected in page.words, expected
    for one in answer.comparison:
        assert one.method in page.words
        for name in ("deletion", "insertion", "random"):
            assert f"{one.faithfulness[name]:.3f}" in page.words
        assert f"{one.faithfulness['randomised agreement']:.2f}" in page.words
    assert f"{answer.comparison[0].score:.4g}" in page.words
    files = {file.name for file in path.parent.iterdir()}
    stem = path.stem
    wanted = {f"{stem}-{part}.png" for part in ("gradcam", "occlusion", "methods", "curves")}
    assert files == wanted | {path.name}


def test_a_file_name_is_text_and_nothing_else(tiny_run: Run, digit: Path, tmp_path: Path) -> None:
    hostile = digit.rename(tmp_path / "<b>&{{ 7 * 7 }}.png")
    page = Page(write_explanation(explain_photo(tiny_run, hostile, ["saliency"], QUICK), tmp_path / "why"))
    assert "<b>&{{ 7 * 7 }}.png" in page.text
    assert "b" not in page.tags
    assert "How far" not in page.text, "without scores there is nothing to say about them"


def test_many_photos_get_a_contact_sheet(tiny_run: Run, digit: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name, number in (("a/x.png", 1), ("b/x.png", 2)):
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray((load_digits().images[number] * 15).astype(np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
    network = open_classifier(tiny_run, as_trained=False)
    answers, failed = explain_photos(network, image_files([folder]).paths, tmp_path / "out", ["saliency"], QUICK)
    assert [page.name for _, page in answers] == ["x.html", "x-2.html"]
    assert [Path(file).name for file, _ in failed] == ["broken.png"]
    index = Page(tmp_path / "out" / "index.html")
    assert [value for tag, key, value in index.attributes if (tag, key) == ("a", "href")] == ["x.html", "x-2.html"]
    assert "broken.png" in index.text
    assert "by Saliency." in " ".join(index.text.split())
    assert (tmp_path / "out" / "contact.png").read_bytes().startswith(b"\x89PNG")


def test_the_contact_sheet_shows_one_method_for_all_photos(tiny_run: Run, digit: Path, tmp_path: Path) -> None:
    """The one whose insertion minus deletion is the largest on average."""
    answer = explain_photo(tiny_run, digit, ["saliency", "gradcam"])
    trust = {"saliency": [(0.2, 0.9), (0.8, 0.3)], "gradcam": [(0.3, 0.8), (0.4, 0.7)]}
    answers = []
    for place in (0, 1):
        maps = [
            replace(
                one,
                faithfulness=one.faithfulness
                | dict(zip(("deletion", "insertion"), trust[one.method][place], strict=True)),
            )
            for one in answer.comparison
        ]
        answers.append((replace(answer, comparison=replace(answer.comparison, attributions=tuple(maps))), Path("x")))
    index = Page(write_contact_sheet(answers, tmp_path))
    assert "by Grad-CAM, whose maps have the best scores on average." in " ".join(index.text.split())


def test_bad_input_is_named(tiny_run: Run, digit: Path, tmp_path: Path) -> None:
    network = open_classifier(tiny_run, as_trained=False)
    with pytest.raises(DataError, match=r"nowhere\.png"):
        explain_photo(network, tmp_path / "nowhere.png")
    with pytest.raises(UnknownNameError, match='Did you mean "gradcam"'):
        explain_photo(network, digit, ["gradcan"])
    with pytest.raises(UnknownNameError, match="no class"):
        explain_photo(network, digit, ["saliency"], ExplainSettings(target="cat"))
    with pytest.raises(UsageError, match="11"):
        explain_photo(network, digit, ["saliency"], ExplainSettings(target=11))
    with pytest.raises(UnknownNameError, match="layer"):
        explain_photo(network, digit, ["gradcam"], ExplainSettings(layer="con1"))
    with pytest.raises(UsageError, match="larger"):
        explain_photo(network, digit, ["occlusion"], ExplainSettings(options={"occlusion": {"window": 500}}))
    with pytest.raises(UsageError, match="METHOD"):
        method_options(["window=3"])
    assert method_options(["occlusion.window=[3, 2]", "occlusion.fill=mean"]) == {
        "occlusion": {"window": [3, 2], "fill": "mean"}
    }


def test_a_network_without_positions_is_explained_by_its_pixels(tmp_path: Path, digit: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
    preprocess = cnnlab.data.Preprocess(8, 1, (0.5,), (0.5,))
    network = Classifier("flat", "a linear one", model, preprocess, ["a", "b", "c"])
    assert [one.method for one in explain_photo(network, digit, None, QUICK).comparison] == ["occlusion"]
    with pytest.raises(ModelError, match="no spatial layer"):
        explain_photo(network, digit, ["gradcam"])
    with pytest.raises(ModelError, match="no spatial layer"):
        dream_photo(network, digit)


def test_fooling_and_dreaming_change_the_picture(tiny_run: Run, digit: Path) -> None:
    network = open_classifier(tiny_run, as_trained=False)
    label = tiny_run.predict(digit)[0].label
    other = next(name for name in network.classes if name != label)
    fooled = fool_photo(network, digit, other)
    assert network.classes[fooled.label] == label
    assert fooled.target == network.classes.index(other)
    with pytest.raises(UsageError, match="one step"):
        fool_photo(network, digit, other, method="fgsm", steps=5)
    found = dream_photo(network, digit, target=other, octaves=1, steps=3)
    assert found.history[-1] > found.history[0]
    assert dream_photo(network, digit, octaves=1, steps=1).objective == "everything in block1", (
        "a block, not its pooling"
    )
    with pytest.raises(UsageError, match="not both"):
        dream_photo(network, digit, target=other, layer="x")


def test_folders_are_never_overwritten(tmp_path: Path) -> None:
    assert [new_folder(None, "a b", tmp_path).name for _ in range(2)] == ["a_b-1", "a_b-2"]
    (tmp_path / "full").mkdir()
    assert new_folder(tmp_path / "full", "x", tmp_path) == tmp_path / "full"
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RunError, match="--out"):
        new_folder(tmp_path / "full", "x", tmp_path)
    assert file_name("../a b?.jpg") == "a_b_.jpg"
