"""The classic networks against their papers: counts and sizes by hand, initial signals, dropout, public weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.errors import ModelError, UsageError
from cnnlab.zoo import Network, create_model, models, stage_outputs
from cnnlab.zoo.squeezenet import Fire
from cnnlab.zoo.vgg import DEPTHS
from tests.zoo.helpers import count

VGGS = [f"vgg{depth}{norm}" for depth in DEPTHS for norm in ("", "_bn")]


def on_meta(name: str, *args: int, **options: float) -> Network:
    """The network without numbers, for counts and shapes."""
    with torch.device("meta"):
        return create_model(name, *args, **options).eval()


def counts(model: nn.Module) -> list[int]:
    """Parameters of each convolution and dense layer, in order."""
    return [count(m) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def sizes(name: str, size: int) -> dict[str, tuple[int, ...]]:
    """Stage -> channels and side of its maps."""
    model = on_meta(name, 10, 3, size)
    with torch.device("meta"):
        _, outputs = stage_outputs(model, torch.empty(1, 3, size, size))
    return {stage: (maps.shape[1], maps.shape[2]) for stage, maps in outputs.items() if maps.ndim == 4}


def conv(inputs: int, outputs: int, kernel: int) -> int:
    return outputs * (inputs * kernel * kernel + 1)


def test_alexnet_layers_by_hand() -> None:
    model = on_meta("alexnet")
    convolutions = [conv(3, 64, 11), conv(64, 192, 5), conv(192, 384, 3), conv(384, 256, 3), conv(256, 256, 3)]
    assert convolutions == [23_296, 307_392, 663_936, 884_992, 590_080]
    dense = [9216 * 4096 + 4096, 4096 * 4096 + 4096, 4096 * 1000 + 1000]
    assert counts(model) == convolutions + dense
    assert sizes("alexnet", 224) == {"stem": (64, 27), "stage1": (192, 13), "stage2": (256, 6)}
    assert sizes("alexnet", 63) == {"stem": (64, 7), "stage1": (192, 3), "stage2": (256, 1)}


def test_book_cnn_layers_by_hand() -> None:
    convolutions = [conv(3, 32, 5), conv(32, 64, 3), conv(64, 128, 3), conv(128, 128, 3), conv(128, 128, 3)]
    assert convolutions == [2_432, 18_496, 73_856, 147_584, 147_584]
    dense = [2 * 2 * 128 * 256 + 256, 256 * 256 + 256, 256 * 10 + 10]
    assert dense == [131_328, 65_792, 2_570]
    assert counts(on_meta("book_cnn")) == convolutions + dense
    assert 100 * models.get("book_cnn").facts.parameters < models.get("alexnet").facts.parameters
    assert sizes("book_cnn", 32) == {"stem": (32, 16), "stage1": (64, 8), "stage2": (128, 4)}
    assert sizes("book_cnn", 28) == {"stem": (32, 14), "stage1": (64, 7), "stage2": (128, 3)}
    assert sizes("book_cnn", 224) == {"stem": (32, 28), "stage1": (64, 14), "stage2": (128, 7)}


def test_book_cnn_has_its_layers_where_alexnet_has_them() -> None:
    book, alex = on_meta("book_cnn"), on_meta("alexnet")
    assert [(n, type(m)) for n, m in book.named_modules()][1:] == [(n, type(m)) for n, m in alex.named_modules()][1:]
    assert book.stages == alex.stages


def test_weights_of_book_cnn_do_not_depend_on_the_image_size() -> None:
    small, large = on_meta("book_cnn", 10, 3, 32), on_meta("book_cnn", 10, 3, 224)
    assert {k: v.shape for k, v in small.state_dict().items()} == {k: v.shape for k, v in large.state_dict().items()}


@pytest.mark.parametrize(
    ("options", "first", "second", "pools", "maps"),
    [
        # kernel, stride and padding of the first and of the other convolutions; the side of the last maps by hand
        ({"kernel": 3}, (3, 1, 1), (3, 1, 1), "max", 4),  # 32 16 | 16 8 | 8 8 8 4
        ({"kernel": 4, "padding": 2}, (4, 1, 2), (4, 1, 2), "max", 5),  # 33 16 | 17 8 | 9 10 11 5
        ({"stride": 2}, (5, 2, 2), (3, 1, 1), "average", 2),  # 16 8 | 8 4 | 4 4 4 2
        ({"padding": 0, "kernel": 2}, (2, 1, 0), (2, 1, 0), "max", 2),  # 31 15 | 14 7 | 6 5 4 2
        ({"padding": 1}, (5, 1, 1), (3, 1, 1), "average", 3),  # 30 15 | 15 7 | 7 7 7 3
        ({"kernel": 3, "stride": 3}, (3, 3, 1), (3, 1, 1), "adaptive", 4),
    ],
)
def test_options_of_book_cnn_are_those_of_its_layers(
    options: dict[str, int], first: tuple[int, ...], second: tuple[int, ...], pools: str, maps: int
) -> None:
    """The same network written down layer by layer, with the same weights."""
    torch.manual_seed(0)
    channels = (4, 6, 8, 5, 7)
    model = create_model("book_cnn", 3, 3, 32, channels=list(channels), pooling=pools, **options).eval()
    make = {"max": lambda _: nn.MaxPool2d(2), "average": lambda _: nn.AvgPool2d(2), "adaptive": nn.AdaptiveAvgPool2d}
    pool = make[pools]
    layers = nn.Sequential(
        *(nn.Conv2d(3, 4, *first), nn.ReLU(), pool(16)),
        *(nn.Conv2d(4, 6, *second), nn.ReLU(), pool(8)),
        *(nn.Conv2d(6, 8, *second), nn.ReLU(), nn.Conv2d(8, 5, *second), nn.ReLU()),
        *(nn.Conv2d(5, 7, *second), nn.ReLU(), pool(4)),
    )
    layers.load_state_dict(model.get_submodule("features").state_dict())
    x = torch.randn(2, 3, 32, 32)
    expected = layers(x)
    assert expected.shape == (2, 7, maps, maps)
    pooled = F.adaptive_avg_pool2d(expected, 2).flatten(1)
    torch.testing.assert_close(model(x), model.get_submodule("classifier")(pooled))


def test_default_options_of_book_cnn_change_nothing() -> None:
    torch.manual_seed(0)
    plain = create_model("book_cnn")
    torch.manual_seed(0)
    options = {"channels": (32, 64, 128, 128, 128), "kernel": None, "stride": 1, "padding": None, "pooling": "max"}
    spelt_out = create_model("book_cnn", options=options)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), spelt_out.parameters(), strict=True))


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        # 16 - 9 + 1 = 8, pooled 4: the next window of 9 does not fit
        (
            16,
            {"kernel": 9, "padding": 0},
            r"features\.3 has a window of 9x9 pixels.*16x16 only 4x4 pixels and padding 0",
        ),
        # 8, 4 | 4, 2 | 2 2 2 1 at stride 2; at stride 16 a single pixel is left for the pooling
        (16, {"stride": 16}, r"features\.2 has a window of 2x2 pixels.*only 1x1 pixels come.*a smaller stride"),
        (32, {"kernel": 3, "padding": 0, "stride": 4}, r"features\.3 has a window of 3x3.*only 4x4|features\.6"),
    ],
)
def test_book_cnn_says_which_layer_does_not_fit(size: int, options: dict[str, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        create_model("book_cnn", 10, 3, size, options=options)


@pytest.mark.parametrize("options", [{"kernel": 0}, {"padding": -1}, {"pooling": "min"}, {"channels": (1, 2, 3)}])
def test_book_cnn_refuses_what_is_no_layer(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"option {next(iter(options))} of book_cnn"):
        create_model("book_cnn", options=options)


@pytest.mark.parametrize(("depth", "millions"), [(11, 133), (13, 133), (16, 138), (19, 144)])
def test_vgg_has_the_layers_of_table_1_and_the_millions_of_table_2(depth: int, millions: int) -> None:
    model = on_meta(f"vgg{depth}")
    assert len(counts(model)) == depth
    assert round(count(model) / 1e6) == millions
    assert {m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d)} == {(3, 3)}
    channels = (64, 128, 256, 512, 512)
    expected = {f"stage{i + 1}": (c, 224 // 2 ** (i + 1)) for i, c in enumerate(channels)}
    assert sizes(f"vgg{depth}", 224) == sizes(f"vgg{depth}_bn", 224) == expected


def test_batch_norm_adds_scale_and_shift_per_channel() -> None:
    for depth, convolutions in DEPTHS.items():
        added = sum(2 * n * c for n, c in zip(convolutions, (64, 128, 256, 512, 512), strict=True))
        assert count(on_meta(f"vgg{depth}_bn")) - count(on_meta(f"vgg{depth}")) == added


def test_quarter_vgg_by_hand() -> None:
    widths = [3, 16, 32, 64, 64, 128, 128, 128, 128]
    convolutions = [conv(a, b, 3) for a, b in pairwise(widths)]
    dense = [7 * 7 * 128 * 1024 + 1024, 1024 * 1024 + 1024, 1024 * 1000 + 1000]
    assert sum(convolutions) == 577_120
    assert counts(on_meta("vgg11_quarter")) == convolutions + dense


@pytest.mark.parametrize(("size", "inputs", "units"), [(32, 512, 512), (64, 512, 512), (65, 25_088, 4096)])
def test_vgg_head_follows_the_image_size(size: int, inputs: int, units: int) -> None:
    small, large = on_meta("vgg16", 10, 3, size), on_meta("vgg16")
    shapes = [tuple(small.get_parameter(f"classifier.{i}.weight").shape) for i in (0, 3, 6)]
    assert shapes == [(units, inputs), (units, units), (10, units)]
    assert list(small.state_dict()) == list(large.state_dict())


def test_vgg_weights_have_the_variance_of_glorot_for_relu() -> None:
    torch.manual_seed(0)
    model = create_model("vgg11", 10, image_size=32)
    # features.8 is 256 -> 256 channels: 2 / (9 * 256 + 9 * 256), doubled.
    weight = model.get_parameter("features.8.weight")
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.01)
    assert weight.abs().max().item() <= math.sqrt(3 * 2 / (9 * 256))
    assert model.get_parameter("classifier.6.weight").std().item() == pytest.approx(0.01, rel=0.05)
    assert all((p == 0).all() for key, p in model.named_parameters() if key.endswith("bias"))


def redrawn(model: nn.Module, draw: Callable[[Tensor], object]) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw(module.weight)
    return model


def test_signal_through_vgg19_survives_only_with_xavier() -> None:
    """The size of the last hidden layer, relative to the image, under three initialisations."""
    torch.manual_seed(0)
    images = torch.randn(8, 3, 32, 32)
    model = create_model("vgg19", 10, image_size=32).eval()
    body = nn.Sequential(model.features, nn.Flatten(), *list(model.classifier)[:-1])  # type: ignore[call-overload]
    with torch.inference_mode():
        ours = body(images).std().item()
        halved = redrawn(body, nn.init.xavier_uniform_)(images).std().item()
        small = redrawn(body, lambda w: nn.init.normal_(w, std=0.01))(images).std().item()
    assert 0.05 < ours < 5
    # 18 layers, each at most sqrt(2) smaller than with the gain for ReLU.
    assert halved == pytest.approx(ours / 2 ** (18 / 2), rel=0.5)
    assert small < 1e-8


@pytest.mark.slow
def test_vgg_learns_with_xavier_and_not_with_small_weights() -> None:
    """Twenty noisy images of ten patterns, 40 steps at learning rate 0.05."""
    torch.manual_seed(0)
    labels = torch.arange(20) % 10
    images = torch.randn(10, 1, 32, 32)[labels] + 0.1 * torch.randn(20, 1, 32, 32)

    def lowest_loss(model: nn.Module) -> float:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        losses = []
        for _ in range(40):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return min(losses)

    assert lowest_loss(create_model("vgg11_quarter", 10, 1, 32, dropout=0)) < 2.2
    small = redrawn(create_model("vgg11_quarter", 10, 1, 32, dropout=0), lambda w: nn.init.normal_(w, std=0.01))
    assert lowest_loss(small) == pytest.approx(math.log(10), abs=1e-4)


def test_nin_for_cifar_by_hand() -> None:
    """Three mlpconv layers: 192-160-96, 192-192-192, 192-192-classes."""
    expected = [conv(3, 192, 5), conv(192, 160, 1), conv(160, 96, 1)]
    expected += [conv(96, 192, 5), conv(192, 192, 1), conv(192, 192, 1)]
    expected += [conv(192, 192, 3), conv(192, 192, 1), conv(192, 10, 1)]
    model = on_meta("nin", 10, 3, 32)
    assert counts(model) == expected
    assert count(model) == 966_986
    assert sizes("nin", 32) == {"stage1": (96, 16), "stage2": (192, 8), "stage3": (192, 8)}


def test_nin_for_imagenet_by_hand() -> None:
    expected = [conv(3, 96, 11), 9_312, 9_312, conv(96, 256, 5), 65_792, 65_792, conv(256, 384, 3), 147_840, 147_840]
    expected += [conv(384, 1024, 3), conv(1024, 1024, 1), conv(1024, 1000, 1)]
    assert counts(on_meta("nin")) == expected
    assert sizes("nin", 224) == {"stage1": (96, 27), "stage2": (256, 13), "stage3": (384, 6), "stage4": (1024, 6)}
    assert "stage4" not in on_meta("nin", 10, 3, 64).stages
    assert "stage4" in on_meta("nin", 10, 3, 65).stages


def test_nin_with_a_quarter_of_the_channels_by_hand() -> None:
    expected = [conv(3, 48, 5), conv(48, 40, 1), conv(40, 24, 1), conv(24, 48, 5), conv(48, 48, 1), conv(48, 48, 1)]
    expected += [conv(48, 48, 3), conv(48, 48, 1), conv(48, 10, 1)]
    assert counts(on_meta("nin", 10, 3, 32, divisor=4)) == expected


def test_a_1x1_convolution_of_nin_is_a_dense_layer_at_every_pixel() -> None:
    torch.manual_seed(0)
    layer = create_model("nin", 10, image_size=32).get_submodule("features.0")[2]  # type: ignore[index]
    x = torch.randn(2, 192, 5, 5)
    at_pixels = F.linear(x.permute(0, 2, 3, 1), layer.weight[:, :, 0, 0], layer.bias).permute(0, 3, 1, 2)
    torch.testing.assert_close(layer(x), at_pixels, rtol=1e-4, atol=1e-5)


def test_logits_of_nin_are_averages_of_the_maps_of_the_classes() -> None:
    torch.manual_seed(0)
    model, images = create_model("nin", 10, image_size=32).eval(), torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        logits, outputs = stage_outputs(model, images)
        weight, bias = model.get_parameter("head.0.weight"), model.get_parameter("head.0.bias")
        maps = F.conv2d(outputs["stage3"], weight, bias).clamp(min=0)
    torch.testing.assert_close(logits, maps.mean((2, 3)))


@pytest.mark.parametrize("name", ["nin", "squeezenet1_0", "squeezenet1_1"])
def test_every_class_is_alive_at_the_start(name: str) -> None:
    """A class whose map is below zero at each pixel of each image gets no gradient through its ReLU."""
    torch.manual_seed(0)
    model, images = create_model(name, 100, image_size=32).eval(), torch.randn(8, 3, 32, 32)
    last = model.get_submodule(model.last_layer)
    assert isinstance(last, nn.Conv2d)

    def dead_classes() -> int:
        model.zero_grad()
        F.cross_entropy(model(images), torch.arange(8)).backward()
        return int((last.weight.grad.flatten(1) == 0).all(1).sum())  # type: ignore[union-attr]

    assert dead_classes() == 0
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    assert dead_classes() > 5


def test_fire_is_two_convolutions_side_by_side_on_few_channels() -> None:
    torch.manual_seed(0)
    fire, x = Fire(8, 2, 3), torch.randn(2, 8, 6, 6)
    squeezed = F.relu(F.conv2d(x, fire.squeeze.weight, fire.squeeze.bias))
    narrow = F.conv2d(squeezed, fire.expand1x1.weight, fire.expand1x1.bias)
    wide = F.conv2d(F.pad(squeezed, (1, 1, 1, 1)), fire.expand3x3.weight, fire.expand3x3.bias)
    torch.testing.assert_close(fire(x), F.relu(torch.cat([narrow, wide], 1)))
    assert count(fire) == (8 * 2 + 2) + (2 * 3 + 3) + (2 * 9 * 3 + 3)


def test_fires_of_squeezenet_have_the_counts_of_table_1() -> None:
    """Before pruning: fire2 11,920 to fire9 197,184, conv1 14,208, conv10 513,000."""
    expected = [11_920, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184]
    for name, stem in (("squeezenet1_0", 14_208), ("squeezenet1_1", 1_792)):
        model = on_meta(name)
        fires = [count(m) for m in model.modules() if isinstance(m, Fire)]
        # Version 1.1 has a stem of 64 channels, so its first Fire squeezes 64 and not 96.
        assert fires == [expected[0] - (0 if name == "squeezenet1_0" else 32 * 16), *expected[1:]]
        assert counts(model)[0] == stem
        assert counts(model)[-1] == 513_000


def test_squeezenet_sizes_and_small_stem() -> None:
    assert sizes("squeezenet1_0", 224) == {
        "stem": (96, 54),
        "stage1": (256, 27),
        "stage2": (512, 13),
        "stage3": (512, 13),
    }
    assert sizes("squeezenet1_1", 224) == {
        "stem": (64, 55),
        "stage1": (128, 27),
        "stage2": (256, 13),
        "stage3": (512, 13),
    }
    assert sizes("squeezenet1_0", 32) == {"stem": (96, 16), "stage1": (256, 8), "stage2": (512, 4), "stage3": (512, 4)}
    assert sizes("squeezenet1_1", 64) == {"stem": (64, 32), "stage1": (128, 16), "stage2": (256, 8), "stage3": (512, 8)}


@pytest.mark.parametrize("name", ["alexnet", "book_cnn", "nin", "squeezenet1_1", "vgg11_quarter"])
def test_dropout_acts_in_training_only_and_can_be_off(name: str) -> None:
    torch.manual_seed(0)
    size = max(32, models.get(name).facts.min_size)
    model, images = create_model(name, 10, image_size=size, dropout=0.4), torch.randn(2, 3, size, size)
    drops = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    assert [m.p for m in drops] == [0.4] * (1 if name == "squeezenet1_1" else 2)
    with torch.no_grad():
        assert not torch.equal(model(images), model(images))
        for module in drops:
            module.p = 0.0
        assert torch.equal(model(images), model.eval()(images))


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_nothing_is_left_uninitialised(name: str) -> None:
    """The dense layers skip torch's own initialisation; their memory holds anything until ours."""
    torch.manual_seed(0)
    model = create_model(name, 10, image_size=max(65, models.get(name).facts.min_size))
    for key in ("classifier.1" if name == "alexnet" else "classifier.0", "classifier.6"):
        layer = model.get_submodule(key)
        assert isinstance(layer, nn.Linear)
        assert (layer.bias == 0).all()
        rows = layer.weight.std(1)
        assert rows.max() / rows.min() < 1.5
        assert layer.weight.mean().abs() < 0.05 * rows.mean()


def test_aliases() -> None:
    assert models.get("vgg").name == models.get("vggnet").name == "vgg11"
    assert models.get("squeezenet").name == "squeezenet1_1"


def test_public_weights_name_imagenet_photos(real_data: Path) -> None:
    """SqueezeNet 1.1 with the authors' weights on 25 validation images; they want BGR, 0..255, less the mean."""
    folder = real_data / "imagenet"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    model = create_model("squeezenet1_1").eval()
    with np.load(folder / "squeezenet1_1_caffe_bgr.npz") as file:
        model.load_state_dict({key: torch.from_numpy(file[key]) for key in file.files})
    with np.load(folder / "imagenet_val_25.npz") as file:
        images, labels = torch.from_numpy(file["X"]).permute(0, 3, 1, 2).flip(1).float(), file["y"]
    images = F.interpolate(images - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1), size=227, mode="bilinear")
    with torch.inference_mode():
        right = int((model(images).argmax(1).numpy() == labels).sum())
    # 57.5 % are published: 14 expected of 25, with a standard deviation of 2.5; chance would give none.
    assert right >= 10
