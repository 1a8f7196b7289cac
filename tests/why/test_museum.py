"""The museum's planted bugs, each named first, and no alarm where they are mended; no alarm on any recipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import cnnlab
from cnnlab.why import examine, examine_subject
from cnnlab.why.script import script_subject

MUSEUM = Path(__file__).parents[2] / "lessons" / "museum"
NOT_EXAMINED = {"exhibit"}

# Script -> the findings that name its bug.
NAMES = {
    "all_weights_zero": {"constant initialisation"},
    "batchnorm_of_two": {"BatchNorm with tiny batches"},
    "broadcast_loss": {"loss broadcasts"},
    "clipped_to_nothing": {"gradient clipped to nothing"},
    "crop_of_four_pixels": {"augmentation destroys the image"},
    "dead_relus": {"dead units"},
    "deep_sigmoid": {"vanishing gradients", "saturated units"},
    "detach_in_forward": {"gradient cut off"},
    "divided_by_255_twice": {"inputs too small"},
    "dropout_as_keep_probability": {"dropout too strong"},
    "eval_while_training": {"eval mode while training"},
    "gradients_never_zeroed": {"gradients not zeroed"},
    "head_frozen_too": {"last layer frozen"},
    "head_replaced_too_late": {"optimizer of other parameters"},
    "images_all_black": {"constant images"},
    "labels_shifted": {"validation labels differ"},
    "labels_shuffled_apart": {"labels do not fit images"},
    "layers_in_a_list": {"unregistered parameters"},
    "loss_made_anew": {"loss without gradient"},
    "loss_summed": {"loss summed over the batch"},
    "mean_of_another_scale": {"inputs not normalised", "inputs too small"},
    "no_nonlinearity": {"no activation"},
    "not_shuffled": {"data not shuffled"},
    "one_class_in_a_hundred": {"imbalance"},
    "optimizer_of_another_model": {"optimizer of other parameters"},
    "pixels_not_scaled": {"inputs not scaled"},
    "rate_too_high": {"learning rate too high"},
    "rate_too_low": {"learning rate too low"},
    "reshape_for_permute": {"pixels scrambled", "images look like noise"},
    "schedule_per_batch": {"learning rate falls to zero"},
    "softmax_before_cross_entropy": {"softmax before cross entropy"},
    "softmax_over_the_batch": {"softmax over the batch"},
    "sorted_split": {"missing class"},
    "step_forgotten": {"optimizer never steps"},
    "validated_on_the_training_images": {"validation images in training"},
    "view_mixes_the_batch": {"images mixed in the batch"},
    "weight_decay_of_one": {"weight decay too strong"},
    "weights_too_large": {"loss far above log C"},
    "zero_grad_too_late": {"gradients erased before the update"},
}
QUICK = ("softmax_before_cross_entropy", "zero_grad_too_late", "validated_on_the_training_images")


def test_every_script_is_listed() -> None:
    assert {path.stem for path in MUSEUM.glob("*.py")} - NOT_EXAMINED == set(NAMES)


@pytest.mark.parametrize("name", QUICK)
def test_a_bug_is_named_first(name: str) -> None:
    first = examine_subject(script_subject(MUSEUM / f"{name}.py")).first
    assert first is not None
    assert first.kind in NAMES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(QUICK)))
def test_every_bug_is_named_first(name: str) -> None:
    diagnosis = examine(MUSEUM / f"{name}.py")
    assert diagnosis.first is not None
    assert diagnosis.first.kind in NAMES[name]
    assert diagnosis.first.severity == "error"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES))
def test_no_alarm_where_the_bug_is_mended(name: str, tmp_path: Path) -> None:
    text = (MUSEUM / f"{name}.py").read_text(encoding="utf-8")
    mended = tmp_path / f"{name}.py"
    mended.write_text(text.replace("FIXED = False", "FIXED = True", 1), encoding="utf-8")
    assert [one.message for one in examine(mended).findings if one.severity != "note"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", cnnlab.list_recipes())
def test_no_alarm_on_a_shipped_recipe(name: str) -> None:
    folder = os.environ.get("CNNLAB_TEST_DATA", "../shared/data")
    recipe = cnnlab.load_recipe(name)
    photos = Path(folder, "hymenoptera")
    if recipe.data == "photos":
        if not photos.is_dir():
            pytest.skip(f"needs the photos in {photos}")
        diagnosis = examine(name, data=str(photos))
    else:
        if recipe.data != "mnist5k" and not Path(folder, recipe.data).is_dir():
            pytest.skip(f"needs {recipe.data} in {folder}")
        diagnosis = examine(name, data_dir=folder)
    assert [one.message for one in diagnosis.findings if one.severity != "note"] == []
