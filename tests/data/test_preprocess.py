"""The decode path against Pillow and NumPy by hand."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from cnnlab.data import ArraySplit, Preprocess
from cnnlab.data.decoding import decode, to_bytes, to_channels
from cnnlab.errors import DataError, UsageError


def plain(size: int, channels: int = 3, **options: object) -> Preprocess:
    return Preprocess(size, channels, (0.0,) * channels, (1.0,) * channels, **options)  # type: ignore[arg-type]


def random_rgb(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R 601-2, in the fixed point that Pillow documents to the nearest integer."""
    exact = rgb.astype(float) @ np.array([299, 587, 114]) / 1000
    return np.floor(exact + 0.5)


class TestModes:
    """Every Pillow mode becomes 1 or 3 channels of 8 bits."""

    def test_rgb_is_unchanged(self) -> None:
        array = random_rgb(6, 6)
        assert np.array_equal(plain(6).pixels(Image.fromarray(array)).numpy(), array.transpose(2, 0, 1))

    def test_rgb_to_grey_is_the_luma_of_itu_r_601(self) -> None:
        array = random_rgb(9, 9)
        grey = plain(9, 1).pixels(Image.fromarray(array)).numpy()[0]
        assert np.abs(grey - luma(array)).max() <= 1
        assert np.mean(grey == luma(array)) > 0.95

    @pytest.mark.parametrize("channels", [1, 3])
    def test_grey_and_one_bit(self, channels: int) -> None:
        array = random_rgb(5, 5)[:, :, 0]
        assert np.array_equal(plain(5, channels).pixels(Image.fromarray(array)).numpy(), np.stack([array] * channels))
        bits = Image.fromarray(array).convert("1")
        expected = np.asarray(bits).astype(np.uint8) * 255
        assert np.array_equal(plain(5, channels).pixels(bits).numpy(), np.stack([expected] * channels))

    def test_alpha_is_laid_on_white(self) -> None:
        rgba = np.zeros((1, 3, 4), np.uint8)
        rgba[0, :, 0] = 200  # red 200 with alpha 0, 128 and 255
        rgba[0, :, 3] = [0, 128, 255]
        out = decode(Image.fromarray(rgba), 3)
        alpha = rgba[0, :, 3:].astype(float) / 255
        expected = np.round(rgba[0, :, :3] * alpha + 255 * (1 - alpha))
        assert np.abs(np.asarray(out)[0].astype(float) - expected).max() <= 1
        assert np.asarray(out)[0, 0].tolist() == [255, 255, 255]

    def test_grey_with_alpha(self) -> None:
        la = np.array([[[100, 0], [100, 255]]], np.uint8)
        assert np.asarray(decode(Image.fromarray(la), 1)).tolist() == [[255, 100]]

    def test_palette_with_and_without_transparency(self, tmp_path: Path) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putpixel((1, 0), 1)
        assert np.asarray(decode(image, 3)).tolist() == [[[10, 20, 30], [40, 50, 60]]]
        for transparency in (1, b"\xff\x00"):  # one index, and an alpha per index
            image.save(tmp_path / "p.png", transparency=transparency)
            opened = decode(tmp_path / "p.png", 3)
            assert np.asarray(opened).tolist() == [[[10, 20, 30], [255, 255, 255]]]

    def test_transparent_colour_of_grey_and_rgb_files(self, tmp_path: Path) -> None:
        Image.fromarray(np.array([[5, 9]], np.uint8)).save(tmp_path / "l.png", transparency=9)
        assert np.asarray(decode(tmp_path / "l.png", 1)).tolist() == [[5, 255]]
        rgb = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
        Image.fromarray(rgb).save(tmp_path / "rgb.png", transparency=(4, 5, 6))
        assert np.asarray(decode(tmp_path / "rgb.png", 3)).tolist() == [[[1, 2, 3], [255, 255, 255]]]

    def test_cmyk(self) -> None:
        cmyk = Image.new("CMYK", (1, 1), (0, 255, 255, 0))  # full magenta and yellow: red
        assert np.asarray(decode(cmyk, 3)).tolist() == [[[255, 0, 0]]]

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_sixteen_bits_are_scaled_not_clipped(self, suffix: str, tmp_path: Path) -> None:
        values = np.array([[0, 257, 32768, 65535]], np.uint16)
        Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
        expected = [[0, 1, round(32768 / 257), 255]]
        assert np.asarray(decode(tmp_path / f"deep.{suffix}", 1)).tolist() == expected
        assert np.asarray(decode(values, 1)).tolist() == expected
        assert np.asarray(decode(tmp_path / f"deep.{suffix}", 3))[:, :, 2].tolist() == expected

    def test_thirty_two_bit_integers_and_floats(self) -> None:
        eight = Image.fromarray(np.array([[0, 7, 255]], np.int32))
        assert np.asarray(decode(eight, 1)).tolist() == [[0, 7, 255]]
        sixteen = Image.fromarray(np.array([[0, 65535]], np.int32))
        assert np.asarray(decode(sixteen, 1)).tolist() == [[0, 255]]
        large = Image.fromarray(np.array([[-1000, 0, 1000]], np.int32))
        assert np.asarray(decode(large, 1)).tolist() == [[0, 128, 255]]
        unit = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
        assert np.asarray(decode(unit, 1)).tolist() == [[0, 128, 255]]

    @pytest.mark.parametrize("mode", ["La", "PA", "RGBa", "RGBX", "YCbCr", "HSV", "I;16B"])
    def test_rare_modes_are_accepted(self, mode: str) -> None:
        for channels in (1, 3):
            assert plain(4, channels).pixels(Image.new(mode, (6, 5))).shape == (channels, 4, 4)


class TestOrientation:
    # Where the pixels [[0, 1], [2, 3]] that the file stores are to be shown; from the EXIF standard, 4.6.4 A.
    SHOWN = {  # noqa: RUF012
        1: [[0, 1], [2, 3]],
        2: [[1, 0], [3, 2]],
        3: [[3, 2], [1, 0]],
        4: [[2, 3], [0, 1]],
        5: [[0, 2], [1, 3]],
        6: [[2, 0], [3, 1]],
        7: [[3, 1], [2, 0]],
        8: [[1, 3], [0, 2]],
    }

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
    def test_photo_is_turned_upright(self, orientation: int, suffix: str, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        blocks = np.kron(np.array([[0, 1], [2, 3]]), np.ones((8, 8))).astype(np.uint8) * 80
        options = {"lossless": True} if suffix == "webp" else {}
        Image.fromarray(blocks).convert("RGB").save(tmp_path / f"x.{suffix}", exif=exif, **options)
        upright = plain(16, 1).pixels(tmp_path / f"x.{suffix}")[0]
        expected = np.kron(np.array(self.SHOWN[orientation]), np.ones((8, 8))) * 80
        assert np.array_equal(upright.numpy(), expected)

    def test_jpeg_of_a_camera(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        array = np.zeros((16, 32, 3), np.uint8)
        array[:, :16] = 255  # stored with the white half left; shown it is on top
        Image.fromarray(array).save(tmp_path / "x.jpg", exif=exif, quality=95)
        image = np.asarray(decode(tmp_path / "x.jpg", 1))
        assert image.shape == (32, 16)
        assert image[:12].min() > 240
        assert image[20:].max() < 15

    def test_broken_exif_is_no_obstacle(self, tmp_path: Path) -> None:
        info = PngImagePlugin.PngInfo()
        info.add_text("x", "y")
        Image.new("RGB", (4, 4), "red").save(tmp_path / "x.png", pnginfo=info, exif=b"Exif\x00\x00II*\x00garbage")
        assert plain(4).pixels(tmp_path / "x.png")[0].unique().tolist() == [255]


class TestGeometry:
    def test_stretch_equals_pillow(self) -> None:
        image = Image.fromarray(random_rgb(37, 53))
        for name, filter_ in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
            expected = np.asarray(image.resize((24, 24), filter_)).transpose(2, 0, 1)
            assert np.array_equal(plain(24, interpolation=name).pixels(image).numpy(), expected)

    def test_shrinking_is_antialiased_as_in_torch(self) -> None:
        array = random_rgb(64, 64)
        out = plain(16).pixels(array).float()
        tensor = torch.from_numpy(array).permute(2, 0, 1)[None].float()
        expected = torch.nn.functional.interpolate(tensor, (16, 16), mode="bilinear", antialias=True)[0]
        assert (out - expected).abs().max() <= 1.0

    @given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 20), st.floats(0.3, 1), st.booleans(), st.booleans())
    def test_what_is_put_amid_a_photo_is_what_is_seen(
        self, height: int, width: int, size: int, fraction: float, grey: bool, stretch: bool
    ) -> None:
        preprocess = plain(size, 1 if grey else 3, resize="stretch" if stretch else "crop", crop_fraction=fraction)
        wanted = random_rgb(size, size, 1)[:, :, 0] if grey else random_rgb(size, size, 1)
        photo = random_rgb(height, width)
        around = preprocess.surround(wanted, photo)
        assert np.array_equal(preprocess.pixels(around).numpy(), np.moveaxis(wanted.reshape(size, size, -1), 2, 0))
        assert min(around.size) == (size if stretch else preprocess.short_side)

    @pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 300), (256, 256), (100, 90), (257, 300)])
    def test_crop_is_short_side_then_centre(self, height: int, width: int) -> None:
        image = Image.fromarray(random_rgb(height, width))
        out = plain(224, resize="crop", crop_fraction=0.875).pixels(image).numpy()
        short = 256
        if width <= height:
            resized = image.resize((short, int(short * height / width)), Image.Resampling.BILINEAR)
        else:
            resized = image.resize((int(short * width / height), short), Image.Resampling.BILINEAR)
        left, top = round((resized.width - 224) / 2), round((resized.height - 224) / 2)
        expected = np.asarray(resized)[top : top + 224, left : left + 224].transpose(2, 0, 1)
        assert np.array_equal(out, expected)

    @given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.sampled_from([0.5, 0.875, 1.0]))
    def test_any_shape_gives_the_size(self, height: int, width: int, size: int, fraction: float) -> None:
        array = np.zeros((height, width), np.uint8)
        for mode in ("stretch", "crop"):
            out = plain(size, 1, resize=mode, crop_fraction=fraction).pixels(array)
            assert out.shape == (1, size, size)
            assert out.dtype == torch.uint8

    @pytest.mark.parametrize("mode", ["stretch", "crop"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_native_arrays_come_back_bit_for_bit(self, mode: str, channels: int) -> None:
        pixels = torch.randint(0, 256, (channels, 28, 28), dtype=torch.uint8)
        preprocess = plain(28, channels, resize=mode)
        assert torch.equal(preprocess.pixels(pixels), pixels)
        assert torch.equal(preprocess.pixels(pixels.permute(1, 2, 0).numpy()), pixels)

    def test_one_decode_path(self, tmp_path: Path) -> None:
        """A file, its picture, its array, its tensor and a split of it in memory give the same pixels."""
        array = random_rgb(40, 50)
        Image.fromarray(array).save(tmp_path / "x.png")
        tensor = torch.from_numpy(array).permute(2, 0, 1)
        for preprocess in (plain(32), plain(32, 1), plain(32, resize="crop", crop_fraction=0.8)):
            expected = preprocess.pixels(tmp_path / "x.png")
            split = ArraySplit(tensor[None], [0])
            for same in (
                preprocess.pixels(str(tmp_path / "x.png")),
                preprocess.pixels(Image.open(tmp_path / "x.png")),
                preprocess.pixels(array),
                preprocess.pixels(tensor),
                split.fetch(torch.tensor([0]), preprocess)[0],
            ):
                assert torch.equal(same, expected)


class TestNormalize:
    def test_formula(self) -> None:
        preprocess = Preprocess(4, 3, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
        pixels = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
        mean, std = np.array(preprocess.mean).reshape(3, 1, 1), np.array(preprocess.std).reshape(3, 1, 1)
        expected = (pixels.numpy() / 255.0 - mean) / std
        out = preprocess.normalize(pixels)
        assert out.dtype == torch.float32
        np.testing.assert_allclose(out.numpy(), expected, atol=2e-6)
        assert torch.equal(preprocess.denormalize(out), pixels)

    def test_float_input_is_not_changed(self) -> None:
        images = torch.full((1, 1, 2, 2), 51.0)
        assert plain(2, 1).normalize(images).unique().item() == pytest.approx(0.2)
        assert images.unique().item() == 51.0

    def test_call_takes_one_or_many(self, tmp_path: Path) -> None:
        array = random_rgb(8, 8)
        Image.fromarray(array).save(tmp_path / "x.png")
        preprocess = plain(8)
        tensor = torch.from_numpy(array).permute(2, 0, 1)
        one = preprocess(array)
        assert one.shape == (1, 3, 8, 8)
        many = preprocess([tmp_path / "x.png", Image.fromarray(array), array, tensor])
        assert torch.equal(many, one.expand(4, -1, -1, -1))
        assert torch.equal(preprocess(np.stack([array] * 2)), one.expand(2, -1, -1, -1))
        assert torch.equal(preprocess(torch.stack([tensor] * 2)), one.expand(2, -1, -1, -1))
        assert preprocess([]).shape == (0, 3, 8, 8)

    def test_wrong_channels(self) -> None:
        with pytest.raises(DataError, match=r"\(2, 3, 4, 4\).*\(N, 1, H, W\)"):
            plain(4, 1).normalize(torch.zeros(2, 3, 4, 4))


class TestErrors:
    def test_unreadable_files_are_named(self, tmp_path: Path) -> None:
        good = tmp_path / "good.jpg"
        Image.fromarray(random_rgb(64, 64)).save(good)
        cases = {"missing.jpg": None, "empty.png": b"", "text.png": b"hello", "cut.jpg": good.read_bytes()[:700]}
        for name, content in cases.items():
            if content is not None:
                (tmp_path / name).write_bytes(content)
            with pytest.raises(DataError, match=name.replace(".", r"\.")):
                plain(8).pixels(tmp_path / name)

    def test_truncated_picture_given_by_the_user(self, tmp_path: Path) -> None:
        Image.fromarray(random_rgb(64, 64)).save(tmp_path / "x.jpg")
        (tmp_path / "y.jpg").write_bytes((tmp_path / "x.jpg").read_bytes()[:700])
        with Image.open(tmp_path / "y.jpg") as image, pytest.raises(DataError, match=r"y\.jpg"):
            plain(8).pixels(image)

    @pytest.mark.parametrize(
        "bad",
        [
            np.zeros((2, 3, 4, 5)),
            np.zeros((3, 8, 8), np.uint8),
            np.zeros((0, 4), np.uint8),
            np.array([["a"]]),
            np.array([[-1.0, 2.0]]),
            np.array([[0.0, np.nan]]),
            np.array([[300.5, 1.0]]),
            torch.zeros(8, 4, 4),
        ],
    )
    def test_arrays_that_are_no_images(self, bad: np.ndarray) -> None:
        with pytest.raises(DataError, match="expected"):
            plain(4).pixels(bad)

    def test_other_things(self) -> None:
        with pytest.raises(DataError, match="int is no image"):
            plain(4).pixels(3)  # type: ignore[arg-type]

    def test_pixel_values_of_other_types(self) -> None:
        assert to_bytes(np.array([True, False])).tolist() == [255, 0]
        assert to_bytes(np.array([0, 9, 255], np.int64)).tolist() == [0, 9, 255]
        assert to_bytes(np.array([0.0, 0.2, 1.0])).tolist() == [0, 51, 255]
        assert to_bytes(np.array([0.0, 51.2, 255.0])).tolist() == [0, 51, 255]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"size": 0}, "at least 1"),
            ({"channels": 2}, "1 \\(grey\\) or 3"),
            ({"mean": (0.5, 0.5)}, "mean has 2"),
            ({"std": (0.0,)}, "greater than 0"),
            ({"resize": "fit"}, '"stretch" or "crop"'),
            ({"crop_fraction": 0}, "crop_fraction"),
            ({"interpolation": "nearest"}, "bilinear"),
        ],
    )
    def test_values_that_make_no_sense(self, change: dict[str, object], message: str) -> None:
        values: dict[str, object] = {"size": 8, "channels": 1, "mean": (0.5,), "std": (0.5,)}
        with pytest.raises(UsageError, match=message):
            Preprocess(**{**values, **change})  # type: ignore[arg-type]

    def test_dict_round_trip(self) -> None:
        import json

        preprocess = Preprocess(224, 3, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "crop", 0.875, "bicubic")
        assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess
        with pytest.raises(UsageError, match='"crop_fraction"'):
            Preprocess.from_dict({**preprocess.to_dict(), "crop_fractoin": 1})
        with pytest.raises(UsageError, match="needs size, std"):
            Preprocess.from_dict({"channels": 1, "mean": [0.5]})


def test_lab_becomes_grey_and_colour(tmp_path: Path) -> None:
    """Pillow converts LAB to RGB only."""
    lab = Image.new("RGB", (6, 6), (200, 30, 60))
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.applyTransform(lab, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    assert converted is not None
    converted.save(tmp_path / "lab.tif")
    red, green, blue = decode(tmp_path / "lab.tif", 3).getpixel((0, 0))  # type: ignore[misc]
    assert (abs(red - 200), abs(green - 30), abs(blue - 60)) <= (2, 2, 2)
    grey = decode(tmp_path / "lab.tif", 1).getpixel((0, 0))
    assert abs(grey - (0.299 * 200 + 0.587 * 30 + 0.114 * 60)) < 3  # type: ignore[operator]


def test_what_a_file_is_stands_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    for content, message in [
        (b"<!DOCTYPE html><html>404</html>", "it is an HTML page, as a failed download leaves it, not an image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS.*git lfs pull"),
        (b"", "an empty file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", r"it is a HEIC photo.*cnnlab\[heic\]"),
        (b"\xff\xd8\xffgarbage", "begins like a JPEG image but is damaged"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            decode(path, 3)


def test_huge_photos_are_read_without_pillows_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (20, 10), 7).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode(tmp_path / "x.png", 1).getpixel((0, 0)) == 7
    assert caught == []
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DataError, match="million pixels, or claims to; save it smaller"):
        decode(tmp_path / "x.png", 1)


def test_depth_is_the_range_that_16_bits_are_used_for(tmp_path: Path) -> None:
    values = np.array([[0, 1023, 512, 2000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert np.asarray(to_channels(image, 1)).tolist() == [[0, 4, 2, 8]]  # 1/257
        assert np.asarray(to_channels(image, 1, depth=10)).tolist() == [[0, 255, 128, 255]]
    preprocess = Preprocess(4, 1, (0.5,), (0.5,), depth=10)
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess
    assert "depth" not in Preprocess(4, 1, (0.5,), (0.5,)).to_dict()  # files of models stay as they were
    with pytest.raises(UsageError, match="depth is 7"):
        Preprocess(4, 1, (0.5,), (0.5,), depth=7)


def test_a_blank_frame_is_black() -> None:
    for values in (np.full((2, 3), 1000.0, np.float32), np.full((2, 3), 70_000, np.int32)):
        assert to_bytes(values, stretch=True).tolist() == [[0] * 3] * 2


def test_a_picture_that_was_given_stays_as_it_is(tmp_path: Path) -> None:
    Image.effect_noise((400, 300), 50).convert("RGB").save(tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as given, Image.open(tmp_path / "x.jpg") as fresh:
        decode(given, 3, least=20)
        assert given.size == (400, 300)
        assert np.array_equal(np.asarray(given), np.asarray(fresh))
