"""Words: the gradient of their vectors, and the loss of sequences of different lengths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_numerical_gradients, nearly
from cnnlab.learn.runs import Array
from cnnlab.scratch.gradcheck import eval_numerical_gradient
from cnnlab.scratch.layers.embedding import word_embedding_backward, word_embedding_forward
from cnnlab.scratch.layers.temporal import temporal_softmax_loss

embedding = add(
    Exercise(
        "cnnlab.scratch.layers.embedding:word_embedding_backward",
        title="the gradient of word vectors",
        chapter="Sequences",
        order=6.4,
        outputs=("dW",),
        note="The cache is (x, W.shape): the words (N, T), integers, and the shape (V, D) of the vectors.",
        hints=(
            "The vector of a word receives the gradients of all places where the word stands; others receive 0.",
            "dW[x] += dout counts a word once even if it occurs twice: np.add.at(dW, x, dout) adds all.",
        ),
    )
)


@embedding.cases
def embedding_cases(random: np.random.Generator) -> Iterator[Case]:
    for V, D, words in ((4, 3, [[0, 2, 2], [2, 1, 0]]), (5, 2, [[3, 1]]), (3, 2, [[1, 1], [1, 1], [0, 2]])):
        x = np.array(words)
        about = "no word twice" if V == 5 else "words that occur several times"
        dout = random.normal(size=(*x.shape, D))
        yield Case(dout, (x, (V, D)), about=about, inputs=(random.normal(size=(V, D)),))


add_numerical_gradients(embedding, lambda case, W: word_embedding_forward(case.arguments[1][0], W)[0])


@embedding.property("The sum over dW is the sum over dout.")
def sum_kept(answer: Function, case: Case) -> bool:
    return bool(np.allclose(answer(*case.arguments).sum(axis=0), case.arguments[0].sum(axis=(0, 1))))


@embedding.mistake("A word that occurs several times is counted once: dW[x] += dout does not add up, np.add.at does.")
def counted_once(dout: Array, cache: Any) -> Any:
    dW = np.zeros(cache[1])
    dW[cache[0]] += dout
    return dW


@embedding.mistake("The gradients of a word are averaged; they must be added up.")
def averaged(dout: Array, cache: Any) -> Any:
    counts = np.bincount(cache[0].ravel(), minlength=cache[1][0])
    return word_embedding_backward(dout, cache) / np.maximum(counts, 1)[:, None]


@embedding.mistake("dW has a row for every word of the sequences; it needs one for every word of the vocabulary.")
def rows_of_sequence(dout: Array, cache: Any) -> Any:
    return dout.reshape(-1, dout.shape[-1])


@embedding.mistake("dW is divided by the number of sequences; a layer only sums.")
def mean_over_batch(dout: Array, cache: Any) -> Any:
    return word_embedding_backward(dout, cache) / len(dout)


@embedding.mistake("dW is (D, V): it must have the shape of W, a row for each word.")
def transposed(dout: Array, cache: Any) -> Any:
    return word_embedding_backward(dout, cache).T


@embedding.mistake("Only the last sequence counts: the gradient is set anew for each one, where it must be added to.")
def last_sequence(dout: Array, cache: Any) -> Any:
    return word_embedding_backward(dout[-1:], (cache[0][-1:], cache[1]))


temporal = add(
    Exercise(
        "cnnlab.scratch.layers.temporal:temporal_softmax_loss",
        title="cross entropy of captions",
        chapter="Sequences",
        order=6.5,
        outputs=("loss", "dx"),
        hints=(
            "Lay all steps of all sequences out as rows: (N * T, V), and use the softmax of the losses' chapter.",
            "Words where mask is False add nothing to the loss, and their gradient is 0.",
            "Divide by N, the number of sequences: not by N * T, and not by the number of words that count.",
        ),
    )
)


@temporal.cases
def temporal_cases(random: np.random.Generator) -> Iterator[Case]:
    for N, T, V, about in ((2, 3, 4, "padded sequences"), (1, 4, 3, "one sequence"), (3, 2, 5, "no padding")):
        mask = np.ones((N, T), bool) if about == "no padding" else np.arange(T) < np.arange(T - N, T)[:, None] + 1
        yield Case(random.normal(size=(N, T, V)), random.integers(0, V, (N, T)), mask, about=about)


@temporal.property("dx equals the numerical gradient of the loss.")
def numerical(answer: Function, case: Case) -> bool:
    x, y, mask = case.arguments
    x = np.array(x)
    return nearly(answer(x, y, mask)[1], eval_numerical_gradient(lambda scores: answer(scores, y, mask)[0], x))


@temporal.property("Padding makes no difference: longer padding gives the same loss.")
def padding(answer: Function, case: Case) -> bool:
    x, y, mask = case.arguments
    more = [np.concatenate([each, np.zeros_like(each[:, :1])], axis=1) for each in (x, y, mask)]
    return is_close(answer(*more)[0], answer(x, y, mask)[0])


@temporal.mistake("The mask is not used: padding must count neither in the loss nor in the gradient.")
def mask_ignored(x: Array, y: Array, mask: Array) -> Any:
    return temporal_softmax_loss(x, y, np.ones_like(mask))


@temporal.mistake("The loss is divided by N * T; divide by the number of sequences N.")
def divided_by_steps(x: Array, y: Array, mask: Array) -> Any:
    loss, dx = temporal_softmax_loss(x, y, mask)
    return loss / x.shape[1], dx / x.shape[1]


@temporal.mistake("The loss is the mean over the words that count; divide their sum by the number of sequences N.")
def mean_over_words(x: Array, y: Array, mask: Array) -> Any:
    loss, dx = temporal_softmax_loss(x, y, mask)
    return loss * len(x) / mask.sum(), dx * len(x) / mask.sum()


@temporal.mistake("The loss is masked but its gradient is not: dx must be 0 where mask is False.")
def gradient_unmasked(x: Array, y: Array, mask: Array) -> Any:
    return temporal_softmax_loss(x, y, mask)[0], temporal_softmax_loss(x, y, np.ones_like(mask))[1]


@temporal.mistake("Loss and gradient are not divided by the number of sequences N.")
def sum_over_batch(x: Array, y: Array, mask: Array) -> Any:
    loss, dx = temporal_softmax_loss(x, y, mask)
    return loss * len(x), dx * len(x)


@temporal.mistake("The gradient is not divided by N, but the loss is.")
def gradient_not_divided(x: Array, y: Array, mask: Array) -> Any:
    loss, dx = temporal_softmax_loss(x, y, mask)
    return loss, dx * len(x)


@temporal.mistake("The mask is the wrong way round: it is True for the words that count.")
def mask_inverted(x: Array, y: Array, mask: Array) -> Any:
    return temporal_softmax_loss(x, y, ~mask)
