"""Assignment 3 in PyTorch: what its notebooks ask the student for, against torch, scipy and sums by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from cnnlab.course.cs231n import gan_pytorch as gan
from cnnlab.course.cs231n import net_visualization_pytorch as seeing
from cnnlab.course.cs231n import style_transfer_pytorch as style
from cnnlab.errors import UsageError


def small_network() -> nn.Sequential:
    """A network of five classes with an in-place ReLU, like SqueezeNet's, whose weights need no gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 5)
    )
    return model.requires_grad_(False)


def photos(count: int = 2, size: int = 32) -> Tensor:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(count)]
    return torch.cat([seeing.preprocess(image, size) for image in images])


class TestSeeing:
    def test_preprocessing_and_back(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        ready = seeing.preprocess(Image.fromarray(pixels), size=20)
        assert ready.shape == (1, 3, 20, 30)
        assert float(ready[0, 1, 4, 5]) == pytest.approx((pixels[4, 5, 1] / 255 - 0.456) / 0.224, rel=1e-5)
        back = np.asarray(seeing.deprocess(ready, should_rescale=False)).astype(int)
        assert np.abs(back - pixels).max() <= 1
        assert np.asarray(seeing.deprocess(ready)).min() == 0
        assert seeing.preprocess(Image.fromarray(pixels)).shape == (1, 3, 224, 336)

    def test_saliency_is_the_largest_absolute_gradient(self) -> None:
        model, X, y = small_network(), photos(), torch.tensor([1, 4])
        maps = seeing.compute_saliency_maps(X, y, model)
        images = X.clone().requires_grad_()
        scores = model(images).gather(1, y[:, None]).sum()
        (gradient,) = torch.autograd.grad(scores, images)
        torch.testing.assert_close(maps, gradient.abs().amax(1))

    def test_a_fooling_image_is_taken_for_the_target(self) -> None:
        model, X = small_network(), photos(1)
        for target in range(5):
            fooling = seeing.make_fooling_image(X, target, model)
            assert fooling.shape == X.shape
            assert model(fooling).argmax(1).item() == target

    def test_jitter_rolls_columns_and_rows(self) -> None:
        X = torch.arange(12.0).reshape(1, 1, 3, 4)
        assert seeing.jitter(X, 1, 0)[0, 0, 0].tolist() == [3, 0, 1, 2]
        assert seeing.jitter(X, 0, 1)[0, 0, :, 0].tolist() == [8, 0, 4]
        assert torch.equal(seeing.jitter(seeing.jitter(X, 2, -1), -2, 1), X)

    def test_blur_is_a_gaussian_in_place(self) -> None:
        X = torch.randn(1, 2, 12, 10)
        expected = gaussian_filter(X.numpy(), (0, 0, 0.5, 0.5))
        assert seeing.blur_image(X, sigma=0.5) is X
        np.testing.assert_allclose(X.numpy(), expected, rtol=1e-4, atol=1e-6)

    def test_an_update_step_by_hand(self) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).requires_grad_(False)
        model[1].weight.copy_(torch.tensor([[0.0, 0, 0, 0], [3.0, 0, 0, 4]]))
        img = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]]).requires_grad_()
        seeing.class_visualization_update_step(img, model, 1, l2_reg=0.0, learning_rate=10)
        torch.testing.assert_close(img.detach(), torch.tensor([[[[6.0, 1.0], [0.0, 8.0]]]]))
        seeing.class_visualization_update_step(img, model, 0, 0.5, 1.0)  # the penalty alone: towards zero
        torch.testing.assert_close(img.detach().norm(), torch.tensor(101.0).sqrt() - 1)

    def test_class_visualisation_raises_the_score(self) -> None:
        torch.manual_seed(0)
        random.seed(0)  # of the shifts between the steps
        model = small_network()
        picture = seeing.create_class_visualization(3, model, torch.FloatTensor, num_iterations=10, show_every=0)
        assert picture.size == (224, 224)
        assert model(seeing.preprocess(picture)).argmax(1).item() == 3
        with pytest.raises(UsageError, match="blur_every"):
            seeing.create_class_visualization(3, model, blur=2)


class TestStyle:
    def test_losses_by_hand(self) -> None:
        torch.manual_seed(0)
        first, second = torch.randn(1, 3, 4, 5), torch.randn(1, 3, 4, 5)
        content = style.content_loss(content_weight=6e-2, content_current=first, content_original=second)
        assert float(content) == pytest.approx(0.06 * float(((first - second) ** 2).sum()), rel=1e-5)
        flat = first[0].reshape(3, 20)
        torch.testing.assert_close(style.gram_matrix(first)[0], flat @ flat.T / 60)
        torch.testing.assert_close(style.gram_matrix(first, normalize=False)[0], flat @ flat.T)
        feats = [first, second, first]
        targets = [torch.zeros(1, 3, 3), style.gram_matrix(first)]
        loss = style.style_loss(feats, style_layers=[1, 2], style_targets=targets, style_weights=[2.0, 300.0])
        assert float(loss) == pytest.approx(2 * float((style.gram_matrix(second) ** 2).sum()), rel=1e-5)
        rows, columns = first[:, :, 1:] - first[:, :, :-1], first[..., 1:] - first[..., :-1]
        expected = 2e-2 * float((rows**2).sum() + (columns**2).sum())
        assert float(style.tv_loss(first, 2e-2)) == pytest.approx(expected, rel=1e-5)

    def test_features_of_a_photo(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        cnn = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)).requires_grad_(False)
        feats, image = style.features_from_img(str(tmp_path / "photo.png"), 20, cnn)
        assert image.shape == (1, 3, 20, 30)
        assert [tuple(feat.shape) for feat in feats] == [(1, 4, 18, 28), (1, 4, 18, 28), (1, 4, 9, 14)]
        torch.testing.assert_close(feats[0], F.conv2d(image, cnn[0].weight, cnn[0].bias))  # ReLU did not change it
        torch.testing.assert_close(feats[2], cnn(image))
        assert style.deprocess(style.preprocess(Image.fromarray(pixels), size=20)).size == (30, 20)


class TestGans:
    def test_parameters_are_as_many_as_the_notebook_says(self) -> None:
        assert gan.count_params(gan.discriminator()) == 267009
        assert gan.count_params(gan.generator(4)) == 1858320
        assert gan.count_params(gan.generator()) == 1858320 + 92 * 1024
        assert gan.count_params(gan.build_dc_classifier(128)) == 1102721
        assert gan.count_params(gan.build_dc_generator(4)) == 6580801

    def test_networks_take_images_and_rows(self) -> None:
        noise = gan.sample_noise(5, gan.NOISE_DIM, seed=1)
        assert noise.shape == (5, 96)
        assert noise.min() < -0.9
        assert noise.max() > 0.9
        assert torch.equal(noise, gan.sample_noise(5, 96, seed=1))
        for make_generator, make_discriminator in (
            (gan.generator, gan.discriminator),
            (gan.build_dc_generator, gan.build_dc_classifier),
        ):
            images = make_generator()(noise)
            assert images.shape == (5, 784)
            assert images.abs().max() <= 1
            D = make_discriminator()
            assert D(images).shape == (5, 1)
            torch.testing.assert_close(D(images.view(5, 1, 28, 28)), D(images))

    def test_losses_by_hand(self) -> None:
        real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])

        def cross_entropy(logits: Tensor, target: float) -> float:
            return float(-(target * logits.sigmoid().log() + (1 - target) * (1 - logits.sigmoid()).log()).mean())

        assert float(gan.bce_loss(fake, torch.ones_like(fake))) == pytest.approx(cross_entropy(fake, 1))
        expected = cross_entropy(real, 1) + cross_entropy(fake, 0)
        assert float(gan.discriminator_loss(logits_real=real, logits_fake=fake)) == pytest.approx(expected)
        assert float(gan.generator_loss(logits_fake=fake)) == pytest.approx(cross_entropy(fake, 1))
        assert float(gan.ls_discriminator_loss(scores_real=real, scores_fake=fake)) == pytest.approx(
            ((1 + 4) / 2 + (0.25 + 9) / 2) / 2
        )
        assert float(gan.ls_generator_loss(scores_fake=fake)) == pytest.approx((0.25 + 16) / 2 / 2)

    def test_helpers(self) -> None:
        assert list(gan.ChunkSampler(3, 5)) == [5, 6, 7]
        assert len(gan.ChunkSampler(3)) == 3
        x = torch.rand(2, 1, 28, 28)
        torch.testing.assert_close(gan.deprocess_img(gan.preprocess_img(x)), x)
        assert gan.Flatten()(x).shape == (2, 784)
        assert gan.Unflatten(2, 16, 7, 7)(gan.Flatten()(x)).shape == (2, 16, 7, 7)
        layer = nn.Linear(30, 20)
        layer.apply(gan.initialize_weights)
        assert layer.weight.abs().max() <= (6 / 50) ** 0.5
        settings = gan.get_optimizer(layer).param_groups[0]
        assert (settings["lr"], settings["betas"]) == (1e-3, (0.5, 0.999))

    def test_a_game_is_played(self, capsys: Any) -> None:
        torch.manual_seed(0)
        batches = [(torch.rand(8, 1, 28, 28), torch.zeros(8)) for _ in range(3)] + [
            (torch.rand(3, 1, 28, 28), torch.zeros(3))
        ]
        D, G = gan.discriminator(), gan.generator()
        before = [parameter.clone() for parameter in (*D.parameters(), *G.parameters())]
        images = gan.run_a_gan(
            D, G, gan.get_optimizer(D), gan.get_optimizer(G), gan.discriminator_loss, gan.generator_loss, batches,
            show_every=2, batch_size=8, num_epochs=2,
        )  # fmt: skip
        assert [image.shape for image in images] == [(8, 784)] * 3
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(",")[0] for line in lines] == ["Iter: 0", "Iter: 2", "Iter: 4"]
        after = (*D.parameters(), *G.parameters())
        assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
