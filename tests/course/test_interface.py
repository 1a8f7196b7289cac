"""The interface of the course, module by module: every name with the arguments by which notebooks call it.

Written from the assignments' descriptions and calls (2019, and later names where they differ).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

from cnnlab.course import cs231n

#: Module -> calls: name, arguments in order, and defaults.
INTERFACE: dict[str, tuple[str, ...]] = {
    "classifiers": ("KNearestNeighbor()", "LinearClassifier()", "LinearSVM()", "Softmax()"),
    "classifiers.k_nearest_neighbor": (
        "KNearestNeighbor()",
        "KNearestNeighbor.train(self, X, y)",
        "KNearestNeighbor.predict(self, X, k=1, num_loops=0)",
        "KNearestNeighbor.compute_distances_two_loops(self, X)",
        "KNearestNeighbor.compute_distances_one_loop(self, X)",
        "KNearestNeighbor.compute_distances_no_loops(self, X)",
        "KNearestNeighbor.predict_labels(self, dists, k=1)",
    ),
    "classifiers.linear_classifier": (
        "LinearClassifier()",
        "LinearSVM.train(self, X, y, learning_rate=1e-3, reg=1e-5, num_iters=100, batch_size=200, verbose=False)",
        "LinearSVM.predict(self, X)",
        "LinearSVM.loss(self, X_batch, y_batch, reg)",
        "Softmax.train(self, X, y, learning_rate=1e-3, reg=1e-5, num_iters=100, batch_size=200, verbose=False)",
        "Softmax.predict(self, X)",
        "Softmax.loss(self, X_batch, y_batch, reg)",
    ),
    "classifiers.linear_svm": ("svm_loss_naive(W, X, y, reg)", "svm_loss_vectorized(W, X, y, reg)"),
    "classifiers.softmax": ("softmax_loss_naive(W, X, y, reg)", "softmax_loss_vectorized(W, X, y, reg)"),
    "classifiers.neural_net": (
        "TwoLayerNet(input_size, hidden_size, output_size, std=1e-4)",
        "TwoLayerNet.loss(self, X, y=None, reg=0.0)",
        "TwoLayerNet.train(self, X, y, X_val, y_val, learning_rate=1e-3, learning_rate_decay=0.95, reg=5e-6,"
        " num_iters=100, batch_size=200, verbose=False)",
        "TwoLayerNet.predict(self, X)",
    ),
    "classifiers.fc_net": (
        "TwoLayerNet(input_dim=3 * 32 * 32, hidden_dim=100, num_classes=10, weight_scale=1e-3, reg=0.0)",
        "TwoLayerNet.loss(self, X, y=None)",
        "FullyConnectedNet(hidden_dims, input_dim=3 * 32 * 32, num_classes=10, dropout=1, normalization=None, reg=0.0,"
        " weight_scale=1e-2, dtype=np.float32, seed=None)",
        "FullyConnectedNet.loss(self, X, y=None)",
    ),
    "classifiers.cnn": (
        "ThreeLayerConvNet(input_dim=(3, 32, 32), num_filters=32, filter_size=7, hidden_dim=100, num_classes=10,"
        " weight_scale=1e-3, reg=0.0, dtype=np.float32)",
        "ThreeLayerConvNet.loss(self, X, y=None)",
    ),
    "classifiers.rnn": (
        "CaptioningRNN(word_to_idx, input_dim=512, wordvec_dim=128, hidden_dim=128, cell_type='rnn', dtype=np.float32)",
        "CaptioningRNN.loss(self, features, captions)",
        "CaptioningRNN.sample(self, features, max_length=30)",
    ),
    "layers": (
        "affine_forward(x, w, b)",
        "affine_backward(dout, cache)",
        "relu_forward(x)",
        "relu_backward(dout, cache)",
        "batchnorm_forward(x, gamma, beta, bn_param)",
        "batchnorm_backward(dout, cache)",
        "batchnorm_backward_alt(dout, cache)",
        "layernorm_forward(x, gamma, beta, ln_param)",
        "layernorm_backward(dout, cache)",
        "dropout_forward(x, dropout_param)",
        "dropout_backward(dout, cache)",
        "conv_forward_naive(x, w, b, conv_param)",
        "conv_backward_naive(dout, cache)",
        "max_pool_forward_naive(x, pool_param)",
        "max_pool_backward_naive(dout, cache)",
        "spatial_batchnorm_forward(x, gamma, beta, bn_param)",
        "spatial_batchnorm_backward(dout, cache)",
        "spatial_groupnorm_forward(x, gamma, beta, G, gn_param)",
        "spatial_groupnorm_backward(dout, cache)",
        "svm_loss(x, y)",
        "softmax_loss(x, y)",
    ),
    "fast_layers": (
        "conv_forward_im2col(x, w, b, conv_param)",
        "conv_backward_im2col(dout, cache)",
        "conv_forward_strides(x, w, b, conv_param)",
        "conv_backward_strides(dout, cache)",
        "conv_forward_fast(x, w, b, conv_param)",
        "conv_backward_fast(dout, cache)",
        "max_pool_forward_fast(x, pool_param)",
        "max_pool_backward_fast(dout, cache)",
        "max_pool_forward_reshape(x, pool_param)",
        "max_pool_backward_reshape(dout, cache)",
        "max_pool_forward_im2col(x, pool_param)",
        "max_pool_backward_im2col(dout, cache)",
    ),
    "layer_utils": (
        "affine_relu_forward(x, w, b)",
        "affine_relu_backward(dout, cache)",
        "conv_relu_forward(x, w, b, conv_param)",
        "conv_relu_backward(dout, cache)",
        "conv_bn_relu_forward(x, w, b, gamma, beta, conv_param, bn_param)",
        "conv_bn_relu_backward(dout, cache)",
        "conv_relu_pool_forward(x, w, b, conv_param, pool_param)",
        "conv_relu_pool_backward(dout, cache)",
    ),
    "rnn_layers": (
        "rnn_step_forward(x, prev_h, Wx, Wh, b)",
        "rnn_step_backward(dnext_h, cache)",
        "rnn_forward(x, h0, Wx, Wh, b)",
        "rnn_backward(dh, cache)",
        "word_embedding_forward(x, W)",
        "word_embedding_backward(dout, cache)",
        "sigmoid(x)",
        "lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b)",
        "lstm_step_backward(dnext_h, dnext_c, cache)",
        "lstm_forward(x, h0, Wx, Wh, b)",
        "lstm_backward(dh, cache)",
        "temporal_affine_forward(x, w, b)",
        "temporal_affine_backward(dout, cache)",
        "temporal_softmax_loss(x, y, mask, verbose=False)",
    ),
    "optim": (
        "sgd(w, dw, config=None)",
        "sgd_momentum(w, dw, config=None)",
        "rmsprop(w, dw, config=None)",
        "adam(w, dw, config=None)",
    ),
    "solver": (
        "Solver(model, data)",
        "Solver.train(self)",
        "Solver.check_accuracy(self, X, y, num_samples=None, batch_size=100)",
    ),
    "captioning_solver": ("CaptioningSolver(model, data)", "CaptioningSolver.train(self)"),
    "gradient_check": (
        "eval_numerical_gradient(f, x, verbose=True, h=1e-5)",
        "eval_numerical_gradient_array(f, x, df, h=1e-5)",
        "grad_check_sparse(f, x, analytic_grad, num_checks=10, h=1e-5)",
    ),
    "features": (
        "extract_features(imgs, feature_fns, verbose=False)",
        "rgb2gray(rgb)",
        "hog_feature(im)",
        "color_histogram_hsv(im, nbin=10, xmin=0, xmax=255, normalized=True)",
    ),
    "data_utils": (
        "load_CIFAR_batch(filename)",
        "load_CIFAR10(ROOT)",
        "get_CIFAR10_data(num_training=49000, num_validation=1000, num_test=1000, subtract_mean=True)",
        "load_tiny_imagenet(path, dtype=np.float32, subtract_mean=True)",
        "load_imagenet_val(num=None)",
    ),
    "vis_utils": ("visualize_grid(Xs, ubound=255.0, padding=1)", "vis_grid(Xs)", "vis_nn(rows)"),
    "coco_utils": (
        "load_coco_data(base_dir='cs231n/datasets/coco_captioning', max_train=None, pca_features=True)",
        "decode_captions(captions, idx_to_word)",
        "sample_coco_minibatch(data, batch_size=100, split='train')",
    ),
    "image_utils": (
        "blur_image(X)",
        "preprocess_image(img)",
        "deprocess_image(img, rescale=False)",
        "image_from_url(url)",
        "load_image(filename, size=None)",
    ),
    "net_visualization_pytorch": (
        "preprocess(img, size=224)",
        "deprocess(img, should_rescale=True)",
        "rescale(x)",
        "blur_image(X, sigma=1)",
        "compute_saliency_maps(X, y, model)",
        "make_fooling_image(X, target_y, model)",
        "class_visualization_update_step(img, model, target_y, l2_reg, learning_rate)",
        "jitter(X, ox, oy)",
        "create_class_visualization(target_y, model)",
    ),
    "style_transfer_pytorch": (
        "content_loss(content_weight, content_current, content_original)",
        "gram_matrix(features, normalize=True)",
        "style_loss(feats, style_layers, style_targets, style_weights)",
        "tv_loss(img, tv_weight)",
        "preprocess(img, size=512)",
        "deprocess(img)",
        "rescale(x)",
        "rel_error(a, b)",
        "extract_features(x, cnn)",
        "features_from_img(imgpath, imgsize, cnn)",
    ),
    "gan_pytorch": (
        "preprocess_img(x)",
        "deprocess_img(x)",
        "rel_error(a, b)",
        "count_params(model)",
        "ChunkSampler(num_samples, start=0)",
        "Flatten()",
        "Unflatten(N=-1, C=128, H=7, W=7)",
        "initialize_weights(m)",
        "sample_noise(batch_size, dim, seed=None)",
        "discriminator(seed=None)",
        "generator(noise_dim=96, seed=None)",
        "bce_loss(input, target)",
        "discriminator_loss(logits_real, logits_fake)",
        "generator_loss(logits_fake)",
        "get_optimizer(model)",
        "run_a_gan(D, G, D_solver, G_solver, discriminator_loss, generator_loss, loader_train, show_every=250,"
        " batch_size=128, noise_size=96, num_epochs=10)",
        "ls_discriminator_loss(scores_real, scores_fake)",
        "ls_generator_loss(scores_fake)",
        "build_dc_classifier(batch_size=128)",
        "build_dc_generator(noise_dim=96)",
    ),
}
CALLS = [(module, call) for module, calls in INTERFACE.items() for call in calls]
#: Module -> modules whose names it hands on: notebooks of assignment 2 get their layers by ``fc_net import *`` alone.
_LAYERS = ("layers", "fast_layers", "layer_utils")
HANDS_ON = {
    "classifiers.fc_net": _LAYERS,
    "classifiers.cnn": _LAYERS,
    "classifiers.rnn": ("layers", "rnn_layers"),
    "classifiers.linear_classifier": ("classifiers.linear_svm", "classifiers.softmax"),
    "layer_utils": ("layers", "fast_layers"),
}
CONSTANTS = {
    "image_utils": {"SQUEEZENET_MEAN", "SQUEEZENET_STD"},
    "coco_utils": {"BASE_DIR"},
    "gan_pytorch": {"NOISE_DIM"},
}


def _public(module: str) -> dict[str, object]:
    """What ``from cs231n.MODULE import *`` brings."""
    imported = importlib.import_module(f"{cs231n.__name__}.{module}")
    return {name: getattr(imported, name) for name in imported.__all__}


@pytest.mark.parametrize(("module", "call"), CALLS, ids=[f"{module}.{call.split('(')[0]}" for module, call in CALLS])
def test_a_function_takes_the_course_s_arguments(module: str, call: str) -> None:
    """The names in this order, with these defaults; whatever cnnlab takes beyond them has a default."""
    dotted, arguments = call.split("(", 1)
    namespace: dict[str, object] = {}
    exec(f"import numpy as np\ndef course({arguments}: ...", namespace)
    expected = inspect.signature(namespace["course"]).parameters  # type: ignore[arg-type]
    first, *rest = dotted.split(".")
    function = _public(module)[first]
    for name in rest:
        function = getattr(function, name)
    assert callable(function)
    ours = list(inspect.signature(function).parameters.values())
    for parameter, course in zip(ours, expected.values(), strict=False):
        assert parameter.name == course.name
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        assert parameter.default == course.default
    assert len(ours) >= len(expected)
    for parameter in ours[len(expected) :]:
        assert parameter.default is not parameter.empty or str(parameter).startswith("*")


def test_modules_hold_these_names_and_no_others() -> None:
    modules = {module.name.removeprefix(f"{cs231n.__name__}.") for module in _walked() if "._" not in module.name}
    assert modules == set(INTERFACE)
    for module in INTERFACE:
        handed_on = {name for other in HANDS_ON.get(module, ()) for name in _named(other)}
        assert set(_public(module)) == _named(module) | handed_on, module


def _named(module: str) -> set[str]:
    return {call.split("(")[0].split(".")[0] for call in INTERFACE[module]} | CONSTANTS.get(module, set())


def _walked() -> list[pkgutil.ModuleInfo]:
    return list(pkgutil.walk_packages(cs231n.__path__, f"{cs231n.__name__}."))
