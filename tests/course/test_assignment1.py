"""Assignment 1: the calls of its notebooks, with the numbers that they print."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnnlab.course.cs231n.classifiers import KNearestNeighbor, LinearSVM, Softmax
from cnnlab.course.cs231n.classifiers.linear_svm import svm_loss_naive, svm_loss_vectorized
from cnnlab.course.cs231n.classifiers.neural_net import TwoLayerNet
from cnnlab.course.cs231n.classifiers.softmax import softmax_loss_naive, softmax_loss_vectorized
from cnnlab.course.cs231n.features import color_histogram_hsv, extract_features, hog_feature, rgb2gray
from cnnlab.course.cs231n.gradient_check import eval_numerical_gradient, grad_check_sparse
from cnnlab.course.cs231n.vis_utils import vis_grid, vis_nn, visualize_grid
from cnnlab.scratch import rel_error

Array = npt.NDArray[Any]


class TestKNearestNeighbor:
    X = np.array([[0.0, 0], [0, 3], [4, 0], [5, 5]])
    y = np.array([1, 0, 0, 1])

    def trained(self) -> KNearestNeighbor:
        classifier = KNearestNeighbor()
        classifier.train(self.X, self.y)
        return classifier

    def test_three_ways_give_the_same_distances(self) -> None:
        classifier, X_test = self.trained(), np.array([[0.0, 0], [4, 3]])
        expected = [[0, 3, 4, np.sqrt(50)], [5, 4, 3, np.sqrt(5)]]
        two = classifier.compute_distances_two_loops(X_test)
        np.testing.assert_allclose(two, expected)
        assert np.linalg.norm(two - classifier.compute_distances_one_loop(X_test), ord="fro") < 1e-12
        assert np.linalg.norm(two - classifier.compute_distances_no_loops(X_test), ord="fro") < 1e-7

    def test_labels_by_votes_and_a_tie_to_the_smaller(self) -> None:
        classifier = self.trained()
        dists = classifier.compute_distances_two_loops(np.array([[0.0, 0], [4, 3]]))
        assert classifier.predict_labels(dists).tolist() == [1, 1]
        assert classifier.predict_labels(dists, k=3).tolist() == [0, 0]
        assert classifier.predict_labels(dists, 2).tolist() == [0, 0]  # one vote each
        for loops in (0, 1, 2):
            assert classifier.predict(np.array([[0.0, 0], [4, 3]]), k=3, num_loops=loops).tolist() == [0, 0]


def _pixels(seed: int = 0) -> tuple[Array, Array]:
    """Images of three classes, of different brightness, centred and with a column of ones, as in the notebooks."""
    rng = np.random.default_rng(seed)
    y = np.arange(300) % 3
    X = rng.normal(0, 20, (300, 12)) + 40 * np.eye(3)[y].repeat(4, axis=1)
    return np.hstack([X - X.mean(axis=0), np.ones((300, 1))]), y


class TestLinear:
    def test_the_first_losses_are_those_of_chance(self) -> None:
        """About C - 1 for the SVM and -log(1 / C) for softmax with tiny weights: 9 and 2.3 for ten classes."""
        np.random.seed(0)
        X, y, W = np.random.randn(500, 3073) * 60, np.random.randint(10, size=500), np.random.randn(3073, 10) * 1e-6
        assert svm_loss_naive(W, X, y, 0.000005)[0] == pytest.approx(9, abs=0.1)
        assert softmax_loss_naive(W, X, y, 0.0)[0] == pytest.approx(-np.log(0.1), abs=0.01)

    @pytest.mark.parametrize(
        ("naive", "vectorized"),
        [(svm_loss_naive, svm_loss_vectorized), (softmax_loss_naive, softmax_loss_vectorized)],
        ids=["svm", "softmax"],
    )
    def test_penalty_without_a_half_and_gradient(self, naive: Any, vectorized: Any, capsys: Any) -> None:
        (X, y), W = _pixels(), np.random.default_rng(1).normal(0, 0.01, (13, 3))
        loss, grad = naive(W, X, y, 5e1)
        assert loss - naive(W, X, y, 0.0)[0] == pytest.approx(50 * np.sum(W * W))
        fast_loss, fast_grad = vectorized(W, X, y, reg=5e1)
        assert fast_loss == pytest.approx(loss)
        np.testing.assert_allclose(fast_grad, grad, rtol=1e-9, atol=1e-9)
        np.random.seed(0)
        grad_check_sparse(lambda w: naive(w, X, y, 5e1)[0], W, grad, 10)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 10
        assert all(float(line.split()[-1]) < 1e-3 for line in lines)
        assert sorted(float(line.split()[-1]) for line in lines)[5] < 1e-6  # a kink of the hinge may be near

    @pytest.mark.parametrize("Classifier", [LinearSVM, Softmax])
    def test_trains_and_returns_its_losses(self, Classifier: Any, capsys: Any) -> None:
        np.random.seed(0)
        (X, y), classifier = _pixels(), Classifier()
        history = classifier.train(X, y, learning_rate=1e-4, reg=1e-3, num_iters=250, batch_size=100, verbose=True)
        assert len(history) == 250
        assert history[-1] < 0.6 * history[0]
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines] == [f"iteration {n} / 250" for n in (0, 100, 200)]
        assert classifier.W.shape == (13, 3)
        assert np.mean(classifier.predict(X) == y) > 0.9
        loss, grad = classifier.loss(X, y, 0.0)
        assert np.isfinite(loss)
        assert grad.shape == (13, 3)

    def test_a_diverging_training_goes_on(self) -> None:
        X, y = _pixels()
        classifier = LinearSVM()
        history = classifier.train(X, y, 1.0, 1e9, 150)
        assert len(history) == 150
        assert not np.isfinite(history[-1])
        assert classifier.predict(X).shape == (300,)


def _toy() -> tuple[TwoLayerNet, Array, Array]:
    """The small net and data of the notebook."""
    np.random.seed(0)
    net = TwoLayerNet(4, 10, 3, std=1e-1)
    np.random.seed(1)
    return net, 10 * np.random.randn(5, 4), np.array([0, 1, 2, 2, 1])


class TestTwoLayerNet:
    def test_scores_loss_and_gradients_are_those_of_the_notebook(self) -> None:
        net, X, y = _toy()
        scores = [
            [-0.81233741, -1.27654624, -0.70335995],
            [-0.17129677, -1.18803311, -0.47310444],
            [-0.51590475, -1.01354314, -0.8504215],
            [-0.15419291, -0.48629638, -0.52901952],
            [-0.00618733, -0.12435261, -0.15226949],
        ]
        np.testing.assert_allclose(net.loss(X), scores, atol=1e-7)
        loss, grads = net.loss(X, y, reg=0.05)
        assert loss == pytest.approx(1.30378789133, abs=1e-10)
        for name in grads:
            numeric = eval_numerical_gradient(lambda _: net.loss(X, y, reg=0.05)[0], net.params[name], verbose=False)
            assert rel_error(numeric, grads[name]) < 1e-7

    def test_learns_the_toy_data(self) -> None:
        net, X, y = _toy()
        stats = net.train(X, y, X, y, learning_rate=1e-1, reg=5e-6, num_iters=100, verbose=False)
        assert stats["loss_history"][-1] == pytest.approx(0.0171, abs=0.003)  # the notebook: below 0.02
        assert len(stats["train_acc_history"]) == len(stats["val_acc_history"]) == 100
        assert (net.predict(X) == y).all()

    def test_an_epoch_is_as_many_iterations_as_fill_it(self) -> None:
        (X, y), net = _pixels(), TwoLayerNet(13, 5, 3)
        stats = net.train(X, y, X[:50], y[:50], num_iters=7, batch_size=100)
        assert len(stats["loss_history"]) == 7
        assert len(stats["val_acc_history"]) == 3  # iterations 0, 3, 6

    def test_numerical_gradient_prints_when_asked(self, capsys: Any) -> None:
        gradient = eval_numerical_gradient(lambda x: np.sum(x**2), np.array([3.0, -1.0]))
        np.testing.assert_allclose(gradient, [6, -2], rtol=1e-8)
        assert [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()] == ["(0,)", "(1,)"]


class TestFeatures:
    def test_154_features_of_an_image(self, capsys: Any) -> None:
        images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3))
        functions = [hog_feature, lambda image: color_histogram_hsv(image, nbin=10)]
        features = extract_features(images, functions, verbose=True)
        assert features.shape == (3, 144 + 10)
        np.testing.assert_allclose(features[:, 144:].sum(axis=1), 1)
        many = extract_features(np.zeros((2000, 8, 8, 3)), [hog_feature], verbose=True)
        assert many.shape == (2000, 9)
        assert capsys.readouterr().out.split("\n")[0] == "Done extracting features for 1000 / 2000 images"

    def test_values_by_hand(self) -> None:
        red_and_grey = np.zeros((2, 4, 3))
        red_and_grey[0, :, 0] = 200
        red_and_grey[1, :, 2] = 100
        np.testing.assert_allclose(color_histogram_hsv(red_and_grey, 3), [0.5, 0, 0.5])
        np.testing.assert_allclose(color_histogram_hsv(red_and_grey, 3, normalized=False), [4, 0, 4])
        np.testing.assert_allclose(rgb2gray(red_and_grey)[:, 0], [0.299 * 200, 0.114 * 100])
        ramp = np.tile(np.arange(8.0), (8, 1))  # grey, one level brighter with each column
        np.testing.assert_allclose(hog_feature(ramp), [2 * 6 / 8, *[0] * 8])


class TestGrids:
    def test_images_side_by_side(self) -> None:
        images = np.arange(3 * 2 * 2).reshape(3, 2, 2, 1).astype(float)
        grid = visualize_grid(images, ubound=255.0, padding=3)
        assert grid.shape == (7, 7, 1)
        np.testing.assert_allclose(grid[:2, :2, 0], [[0, 85], [170, 255]])
        np.testing.assert_allclose(grid[5:, :2, 0], [[0, 85], [170, 255]])
        assert not grid[2:5].any()
        together = vis_grid(images)
        assert together.shape == (5, 5, 1)
        assert together[0, 0, 0] == 0
        assert together[2, 0, 0] == 1  # white between them
        assert vis_nn(np.zeros((2, 3, 4, 5, 3))).shape == (9, 17, 3)
        assert not np.isnan(visualize_grid(np.ones((1, 2, 2, 3)))).any()
