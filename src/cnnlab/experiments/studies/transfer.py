"""Transfer learning: from scratch, the last layer alone, or everything from pretrained weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cnnlab.data import ArraySplit, ImageData, Preprocess, Split
from cnnlab.data.stratify import stratified_choice
from cnnlab.experiments.drawing import seed_band, seed_bands
from cnnlab.experiments.linear_probe import frozen_features, linear_answers
from cnnlab.experiments.study import Claim, Study, accuracy_gain, register_study
from cnnlab.figures import bands
from cnnlab.tracing.hooks import keeping_modes
from cnnlab.training import Event, Finished, Recipe, Session, prepare
from cnnlab.training.evaluation import evaluate, loss_and_accuracy
from cnnlab.training.session import evaluation_loader
from cnnlab.zoo import pretrained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnlab.experiments.bench import Bench
    from cnnlab.experiments.tables import Tables

NETWORK = "efficientnet_lite0"
SCRATCH, TUNED, RANDOM, PRETRAINED = METHODS = (
    "from scratch",
    "all fine-tuned",
    "last layer, random features",
    "last layer, pretrained features",
)
# Rates, layer decay and the share of the warmup are those of the recipe "finetune" that comes with the package.
WHOLE: dict[str, dict[str, Any]] = {SCRATCH: {}, TUNED: {"layer_decay": 0.7, "weights": "imagenet"}}
FROZEN: dict[str, dict[str, Any]] = {RANDOM: {}, PRETRAINED: {"weights": "imagenet"}}
COUNTS = (20, 40, 100, 200)
FEW, MANY = COUNTS[0], COUNTS[-1]
PASSES = {FEW: 10, MANY: 3}  # how often an epoch shows each photo
YOSINSKI = "Yosinski, Clune, Bengio, Lipson: How transferable are features in deep neural networks?, 2014, abstract"
HYMENOPTERA = (
    "The photos of ants and bees (397, 47 MB) come as hymenoptera_data.zip with PyTorch's tutorial on transfer "
    "learning: unpack it, call the folder hymenoptera, and name the folder that it lies in with --data-dir; or name "
    "your own folder of photos with --data."
)


def variant_name(method: str, count: int) -> str:
    """Return the name of the variant that learns by a method from so many photos."""
    return f"{method}, {count} photos"


@register_study
class Transfer(Study):
    """EfficientNet-Lite0 learns to tell ants from bees in four ways, from few and from many photos."""

    title = "What are pretrained weights worth when there are few photos?"
    about = (
        "EfficientNet-Lite0 learns to tell ants from bees in four ways: all of it, from random or from ImageNet "
        "weights (these change more slowly in the lower stages), or its last layer alone, on the features of random or "
        "of ImageNet weights. The last layer is a softmax regression, trained to the end on "
        f"{', '.join(map(str, COUNTS))} photos, each set a part of the next; BatchNorm of the frozen random network "
        f"takes its statistics from the {MANY} photos. The whole network learns from {FEW} and from {MANY} photos with "
        "AdamW and a cosine schedule, in steps of 20 photos. At small scale photos are 72 pixels wide, and the whole "
        f"network sees each of {FEW} photos {PASSES[FEW]} times and each of {MANY} photos {PASSES[MANY]} times, so "
        "that all of it takes minutes. Training from scratch has hardly begun by then: its accuracy says how far it "
        "comes with the effort of fine-tuning, not how far it could come. Nothing is augmented. Ants and bees are two "
        "of ImageNet's 1000 classes, so that the pretrained weights come from photos like these. How long networks are "
        "trained was settled with seeds 0 and 1; the results that come with the project are those of seeds 2 to 13."
    )
    claims = (
        Claim(
            f"Training only the last layer gives a higher accuracy on pretrained than on random features ({MANY} "
            "photos).",
            YOSINSKI,
            accuracy_gain(variant_name(PRETRAINED, MANY), variant_name(RANDOM, MANY), chance=0.5),
            worth=5.0,
        ),
        Claim(
            f"Fine-tuning everything from pretrained weights beats training from scratch ({MANY} photos).",
            YOSINSKI,
            accuracy_gain(variant_name(TUNED, MANY), variant_name(SCRATCH, MANY), chance=0.5),
            worth=5.0,
        ),
        Claim(
            f"With few photos, training only the last layer beats fine-tuning everything ({FEW} photos).",
            "CS231n, notes on transfer learning: when and how to fine-tune",
            accuracy_gain(variant_name(PRETRAINED, FEW), variant_name(TUNED, FEW), chance=0.5),
            worth=2.0,
        ),
    )
    variants = tuple(
        variant_name(method, count) for method in METHODS for count in (PASSES if method in WHOLE else COUNTS)
    )
    data = "hymenoptera"
    data_source = HYMENOPTERA
    pairing = (
        "Within a seed all methods learn from the same photos, from scratch and fine-tuning in the same order, and the "
        "frozen random network has the weights from which training from scratch begins; initialisation, order and the "
        "choice of training photos vary from seed to seed; the test photos are the same."
    )

    def measure(self, bench: Bench) -> None:
        size = bench.choose(
            tiny={"epochs": 1, "image_size": 8, "batch_size": 100},
            small={"epochs": 1, "image_size": 72, "batch_size": 20},
            full={"epochs": 30, "image_size": 224, "batch_size": 20},
        )
        recipe = transfer_recipe(bench, NETWORK, warmup_epochs=size["epochs"] / 8, **size)
        photos = decoded(bench.data, prepare(recipe, bench.data).preprocess)
        train_whole(bench, recipe, photos)
        probe_frozen(bench, recipe, photos)

    def draw(self, tables: Tables) -> dict[str, Figure]:
        return {"photos": accuracy_by_count(tables), "steps": loss_by_step(tables)}


def transfer_recipe(bench: Bench, network: str, **settings: Any) -> Recipe:
    """Return a recipe in which images are prepared as for the ImageNet weights, whether these are used or not."""
    public, channels = pretrained(network), bench.data.train.channels
    recipe = bench.recipe(
        network,
        mean=public.mean[:channels],
        std=public.std[:channels],
        interpolation=public.interpolation,
        crop_fraction=public.size / public.resize,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        schedule="cosine",
    )
    # Convolutions of single channels take half the time in this layout.
    return recipe.with_overrides(channels_last=True, **settings)


def decoded(data: ImageData, preprocess: Preprocess) -> ImageData:
    """Return the data with training and test photos decoded, resized and cropped once, as pixels in memory."""

    def pixels(split: Split) -> ArraySplit:
        return ArraySplit(split.fetch(torch.arange(len(split)), preprocess), split.labels)

    assert data.test is not None  # the runner sees to that
    return replace(data, train=pixels(data.train), test=pixels(data.test))


def train_whole(bench: Bench, recipe: Recipe, photos: ImageData) -> None:
    """Train the whole network from random and from pretrained weights, on few and on many photos."""
    for count, passes in PASSES.items():
        few = photos.train.subset(stratified_choice(photos.train.labels, count, bench.seed))
        data = replace(photos, train=few.subset(torch.arange(count).repeat(passes)))
        recipes = {variant_name(method, count): recipe.with_overrides(**rest) for method, rest in WHOLE.items()}

        def watch(variant: str, event: Event, few: Split = few) -> None:
            if isinstance(event, Finished):
                bench.result(variant, train_accuracy=accuracy_on(few, event.session))

        # Weights are not copied from one network to the next, which would undo the pretrained ones: the seed draws
        # equal last layers as it is.
        bench.train(recipes, watch, data=dict.fromkeys(recipes, data), share_weights=False, checkpoints=False)


def accuracy_on(split: Split, session: Session) -> float:
    """Return the accuracy of the network of a session on a split, in eval mode."""
    loader = evaluation_loader(session, split)
    return loss_and_accuracy(*evaluate(session.model, loader, session.device, session.precision))[1]


def probe_frozen(bench: Bench, recipe: Recipe, photos: ImageData) -> None:
    """Train the last layer on the features of the random and of the pretrained network."""
    assert photos.test is not None
    choices = {count: stratified_choice(photos.train.labels, count, bench.seed) for count in COUNTS}
    pool = replace(photos, train=photos.train.subset(choices[MANY]))
    for method, rest in FROZEN.items():
        session = prepare(recipe.with_overrides(freeze="backbone", **rest), pool)
        if method == RANDOM:
            set_statistics(session)
        test_features, test_labels = frozen_features(session, photos.test)
        features, labels = frozen_features(session, pool.train)
        for count in COUNTS:
            rows = torch.isin(choices[MANY], choices[count]).numpy()  # the fewer photos are among the more
            answers = linear_answers(features[rows], labels[rows], test_features)
            bench.record_answers(variant_name(method, count), answers == test_labels)


def set_statistics(session: Session) -> None:
    """Set mean and variance of each BatchNorm layer to those of the training images, which pass through once.

    Without that, the layers of a random network would not normalise at all, and its features would be tiny or huge.
    """
    norms = [module for module in session.model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    with keeping_modes(session.model), torch.no_grad():
        session.model.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over the batches
            norm.train()
        for batch in session.train_loader.epoch(0):
            session.model(batch.images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def accuracy_by_count(tables: Tables) -> Figure:
    """Draw the test accuracy of the four methods over the number of training photos."""
    methods = {variant_name(method, count): (method, count) for method in METHODS for count in COUNTS}
    rows = []
    for row in tables["results"]:
        method, count = methods[str(row["variant"])]
        rows.append(row | {"variant": method, "training photos": count})
    return seed_bands(rows, METHODS, {"test accuracy": "accuracy"}, "training photos")


def loss_by_step(tables: Tables) -> Figure:
    """Draw the training loss of the whole network over the steps, a panel per number of photos."""
    panels = {
        f"training loss of a step, {count} photos": {
            method: band
            for method in WHOLE
            if (band := seed_band(tables["steps"], variant_name(method, count), "step", "loss")) is not None
        }
        for count in PASSES
    }
    return bands({title: lines for title, lines in panels.items() if lines}, x="step")
