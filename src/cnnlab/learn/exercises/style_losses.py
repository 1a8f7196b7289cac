"""The losses of style transfer: content, Gram matrix, style, total variation; and moments of layer outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.tensors import normal

_CHAPTER = "Style transfer (PyTorch)"
_SHAPES = ((1, 3, 2, 4), (2, 4, 3, 3), (1, 2, 5, 2))  # N, C, H, W


def _solution(name: str) -> Any:
    from cnnlab.generate import losses

    return getattr(losses, name)


content = add(
    Exercise(
        "cnnlab.generate.losses:content_loss",
        title="content loss",
        chapter=_CHAPTER,
        order=7.0,
        outputs=("loss",),
        uses_torch=True,
        hints=(
            "It is a sum over everything, not a mean.",
            "weight * ((features - target) ** 2).sum() is all there is to it.",
        ),
    )
)


@content.cases
def content_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, weight in zip(_SHAPES, (1.0, 0.5, 3.0), strict=True):
        yield Case(weight, normal(random, *shape), normal(random, *shape))


@content.property("The loss of equal layer outputs is 0.")
def equal(answer: Function, case: Case) -> bool:
    weight, features, _ = case.arguments
    return float(answer(weight, features, features)) == 0


@content.property("A gradient flows back to the features.")
def differentiable(answer: Function, case: Case) -> bool:
    weight, features, target = case.arguments
    return bool(answer(weight, features.clone().requires_grad_(), target).requires_grad)


@content.mistake("The squares are averaged; sum them.")
def mean(weight: Any, features: Any, target: Any) -> Any:
    return weight * (features - target).square().mean()


@content.mistake("The differences are not squared but taken by their absolute values.")
def absolute(weight: Any, features: Any, target: Any) -> Any:
    return weight * (features - target).abs().sum()


@content.mistake("The weight is not used.")
def unweighted(weight: Any, features: Any, target: Any) -> Any:
    return (features - target).square().sum()


@content.mistake("The loss is halved, as in the paper; here it has no constant factor.")
def halved(weight: Any, features: Any, target: Any) -> Any:
    return 0.5 * weight * (features - target).square().sum()


@content.mistake("That is the distance: the root of the sum of squares. Leave the root out.")
def root(weight: Any, features: Any, target: Any) -> Any:
    return weight * (features - target).square().sum().sqrt()


@content.mistake("The weight is squared with the difference; it stands outside.")
def weight_squared(weight: Any, features: Any, target: Any) -> Any:
    return (weight * (features - target)).square().sum()


gram = add(
    Exercise(
        "cnnlab.generate.losses:gram_matrix",
        title="Gram matrix",
        chapter=_CHAPTER,
        order=7.1,
        outputs=("gram",),
        uses_torch=True,
        hints=(
            "Lay the positions out in one axis: features.flatten(2) is (N, C, H * W).",
            "The product with its own transpose, over the positions, is (N, C, C): flat @ flat.transpose(1, 2).",
            "Normalised means divided by H * W * C.",
        ),
    )
)


@gram.cases
def gram_cases(random: np.random.Generator) -> Iterator[Case]:
    yield Case(normal(random, *_SHAPES[0]), about="one image")
    yield Case(normal(random, *_SHAPES[1]), True, about="two images")
    yield Case(normal(random, *_SHAPES[2]), False, about="not normalised")


@gram.property("The matrix is symmetric, and its diagonal is not negative.")
def symmetric(answer: Function, case: Case) -> bool:
    matrix = answer(*case.arguments).numpy()
    return is_close(matrix, matrix.transpose(0, 2, 1)) and bool((np.diagonal(matrix, axis1=1, axis2=2) >= 0).all())


@gram.property("The order of the positions makes no difference.")
def no_places(answer: Function, case: Case) -> bool:
    features, *rest = case.arguments
    return is_close(answer(features.flip(2).flip(3), *rest), answer(features, *rest))


@gram.mistake("The products are summed over the channels: that is a matrix of positions. Sum over the positions.")
def of_positions(features: Any, normalize: bool = True) -> Any:
    flat = features.flatten(2)
    product = flat.transpose(1, 2) @ flat
    return product / features[0].numel() if normalize else product


@gram.mistake("The sums are not divided by H * W * C when normalize is True.")
def not_normalised(features: Any, normalize: bool = True) -> Any:
    return _solution("gram_matrix")(features, False)


@gram.mistake("The sums are divided by H * W only; normalised means divided by H * W * C.")
def without_channels(features: Any, normalize: bool = True) -> Any:
    result = _solution("gram_matrix")(features, normalize)
    return result * features.shape[1] if normalize else result


@gram.mistake("All images of the batch are put into one matrix: (N, C, C) is asked for.")
def one_matrix(features: Any, normalize: bool = True) -> Any:
    return _solution("gram_matrix")(features, normalize).sum(0)


@gram.mistake("The mean is subtracted first: that is a covariance, a Gram matrix keeps the mean.")
def centred(features: Any, normalize: bool = True) -> Any:
    return _solution("gram_matrix")(features - features.mean((2, 3), keepdim=True), normalize)


@gram.mistake("The result is normalised whatever normalize says.")
def always_normalised(features: Any, normalize: bool = True) -> Any:
    return _solution("gram_matrix")(features, True)


@gram.mistake("Channels and positions are mixed by the reshape: keep C, and put H and W together, (N, C, H * W).")
def mixed(features: Any, normalize: bool = True) -> Any:
    N, C, H, W = features.shape
    flat = features.permute(0, 2, 3, 1).reshape(N, C, H * W)
    product = flat @ flat.transpose(1, 2)
    return product / (C * H * W) if normalize else product


style = add(
    Exercise(
        "cnnlab.generate.losses:style_loss",
        title="style loss",
        chapter=_CHAPTER,
        order=7.2,
        outputs=("loss",),
        note="targets are Gram matrices already. Write the normalised Gram matrix of the features into this file too.",
        uses_torch=True,
        hints=(
            "For each layer: the Gram matrix of features[layer], minus the target, squared, summed, times the weight.",
            "Go through layers, targets and weights together with zip; add up over the layers.",
        ),
    )
)


@style.cases
def style_cases(random: np.random.Generator) -> Iterator[Case]:
    for layers, about in (([0, 2], "two of three layers"), ([1], "one layer"), ([2, 1, 0], "three layers")):
        features = [normal(random, *shape) for shape in ((1, 3, 2, 4), (1, 2, 3, 3), (1, 4, 2, 2))]
        targets = [normal(random, 1, features[i].shape[1], features[i].shape[1]) for i in layers]
        yield Case(features, layers, targets, [2.0, 0.5, 3.0][: len(layers)], about=about)


@style.property("The loss is 0 when the targets are those of the features.")
def own_style(answer: Function, case: Case) -> bool:
    features, layers, _, weights = case.arguments
    targets = [_solution("gram_matrix")(features[layer]) for layer in layers]
    return abs(float(answer(features, layers, targets, weights))) < 1e-12


@style.property("Twice the weights give twice the loss.")
def proportional(answer: Function, case: Case) -> bool:
    features, layers, targets, weights = case.arguments
    double = [2 * weight for weight in weights]
    return is_close(answer(features, layers, targets, double), 2 * answer(features, layers, targets, weights))


def _terms(features: Any, layers: Any, targets: Any) -> list[Any]:
    gram_matrix = _solution("gram_matrix")
    return [(gram_matrix(features[k]) - target).square() for k, target in zip(layers, targets, strict=True)]


@style.mistake("The weights of the layers are not used.")
def style_unweighted(features: Any, layers: Any, targets: Any, weights: Any) -> Any:
    return _solution("style_loss")(features, layers, targets, [1.0] * len(weights))


@style.mistake("The squares are averaged; sum them.")
def style_mean(features: Any, layers: Any, targets: Any, weights: Any) -> Any:
    return sum(weight * term.mean() for term, weight in zip(_terms(features, layers, targets), weights, strict=True))


@style.mistake("Only the last layer counts: the loss is set anew for each layer, where it must be added to.")
def last_layer(features: Any, layers: Any, targets: Any, weights: Any) -> Any:
    return weights[-1] * _terms(features, layers, targets)[-1].sum()


@style.mistake("layers is not used: the first outputs are compared, where layers says which ones.")
def first_layers(features: Any, layers: Any, targets: Any, weights: Any) -> Any:
    gram_matrix = _solution("gram_matrix")
    terms = [gram_matrix(features[i]) - target for i, target in enumerate(targets)]
    return sum(weight * term.square().sum() for term, weight in zip(terms, weights, strict=True))


@style.mistake("The Gram matrix is not normalised: divide it by H * W * C.")
def gram_not_normalised(features: Any, layers: Any, targets: Any, weights: Any) -> Any:
    gram_matrix = _solution("gram_matrix")
    grams = [gram_matrix(features[layer], False) for layer in layers]
    return sum(w * (g - t).square().sum() for g, t, w in zip(grams, targets, weights, strict=True))


@style.mistake("The sum over the layers is divided by their number; only add up.")
def mean_over_layers(features: Any, layers: Any, targets: Any, weights: Any) -> Any:
    return _solution("style_loss")(features, layers, targets, weights) / len(layers)


@style.mistake("The weights are squared with the differences; they stand outside.")
def style_weight_squared(features: Any, layers: Any, targets: Any, weights: Any) -> Any:
    return _solution("style_loss")(features, layers, targets, [weight**2 for weight in weights])


variation = add(
    Exercise(
        "cnnlab.generate.losses:tv_loss",
        title="total variation",
        chapter=_CHAPTER,
        order=7.3,
        outputs=("loss",),
        uses_torch=True,
        hints=(
            "Neighbours below each other are image[:, :, 1:] and image[:, :, :-1]; likewise for columns.",
            "Square the differences, sum both kinds, multiply with the weight.",
        ),
    )
)


@variation.cases
def variation_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, weight in zip(((1, 3, 4, 5), (2, 1, 3, 2), (1, 2, 1, 4)), (0.5, 2.0, 3.0), strict=True):
        yield Case(normal(random, *shape), weight, about="one row of pixels" if shape[2] == 1 else "")


@variation.property("A constant image has the loss 0, and adding a constant changes nothing.")
def constant(answer: Function, case: Case) -> bool:
    image, weight = case.arguments
    flat = float(answer(0 * image + 3, weight))
    return flat == 0 and is_close(answer(image + 3, weight), answer(image, weight))


@variation.property("Mirroring or transposing the image changes nothing.")
def mirrored(answer: Function, case: Case) -> bool:
    image, weight = case.arguments
    loss = answer(image, weight)
    return is_close(answer(image.flip(3), weight), loss) and is_close(answer(image.transpose(2, 3), weight), loss)


def _parts(image: Any) -> tuple[Any, Any]:
    return image.diff(dim=2), image.diff(dim=3)


@variation.mistake("The differences are not squared but taken by their absolute values.")
def variation_absolute(image: Any, weight: float) -> Any:
    down, across = _parts(image)
    return weight * (down.abs().sum() + across.abs().sum())


@variation.mistake("Only differences along rows count; neighbours below each other count too.")
def only_across(image: Any, weight: float) -> Any:
    return weight * _parts(image)[1].square().sum()


@variation.mistake("Only differences along columns count; neighbours beside each other count too.")
def only_down(image: Any, weight: float) -> Any:
    return weight * _parts(image)[0].square().sum()


@variation.mistake("The image is rolled, so that its last row meets the first: slice, do not roll.")
def rolled(image: Any, weight: float) -> Any:
    return weight * ((image - image.roll(1, 2)).square().sum() + (image - image.roll(1, 3)).square().sum())


@variation.mistake("The squares are averaged; sum them.")
def variation_mean(image: Any, weight: float) -> Any:
    down, across = _parts(image)
    return weight * (down.square().sum() / max(down.numel(), 1) + across.square().sum() / max(across.numel(), 1))


@variation.mistake("The weight is not used.")
def variation_unweighted(image: Any, weight: float) -> Any:
    return _solution("tv_loss")(image, 1.0)


@variation.mistake("The axes are off by one: height is axis 2 and width axis 3; axis 1 holds the channels.")
def over_channels(image: Any, weight: float) -> Any:
    return weight * (image.diff(dim=1).square().sum() + image.diff(dim=2).square().sum())


moments = add(
    Exercise(
        "cnnlab.generate.losses:moments",
        title="mean and covariance of a layer output",
        chapter=_CHAPTER,
        order=7.4,
        outputs=("mean", "covariance"),
        uses_torch=True,
        hints=(
            "As for the Gram matrix: positions in one axis, (N, C, H * W), and a product with the transpose.",
            "Subtract the mean over the positions first, and divide the product by their number, H * W.",
        ),
    )
)


@moments.cases
def moments_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape in _SHAPES:
        yield Case(normal(random, *shape) + 2, about=f"{shape[0]} image{'s' * (shape[0] > 1)}")


@moments.property("The covariance equals NumPy's, with ddof 0.")
def as_numpy(answer: Function, case: Case) -> bool:
    features = case.arguments[0].numpy()
    expected = [np.cov(image.reshape(len(image), -1), ddof=0) for image in features]
    return is_close(answer(case.arguments[0])[1], expected)


@moments.property("Adding a constant changes the mean only.")
def shifted(answer: Function, case: Case) -> bool:
    (features,) = case.arguments
    (mean_before, before), (mean_after, after) = answer(features), answer(features + 5)
    return is_close(mean_after, mean_before + 5) and is_close(after, before)


@moments.mistake("The mean is not subtracted before the product.")
def moments_not_centred(features: Any) -> Any:
    flat = features.flatten(2)
    return flat.mean(2), flat @ flat.transpose(1, 2) / flat.shape[2]


@moments.mistake("The products are divided by H * W - 1; divide by H * W.")
def moments_ddof(features: Any) -> Any:
    first, second = _solution("moments")(features)
    count = features[0, 0].numel()
    return first, second * count / (count - 1)


@moments.mistake("The products are not divided by the number of positions.")
def moments_sum(features: Any) -> Any:
    first, second = _solution("moments")(features)
    return first, second * features[0, 0].numel()


@moments.mistake("The mean is over the channels; it is over the positions, one for each channel.")
def mean_over_channels(features: Any) -> Any:
    return features.mean(1).flatten(1), _solution("moments")(features)[1]


@moments.mistake("Only variances are returned: the covariance is a matrix (N, C, C).")
def only_variances(features: Any) -> Any:
    return _solution("moments")(features)[0], features.flatten(2).var(2, correction=0)
