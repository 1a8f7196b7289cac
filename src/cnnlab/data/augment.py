"""The settings of augmentation; :mod:`cnnlab.data.batch_augment` applies them. torch is not imported."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator


class Augment(BaseModel):
    """The random changes of training images. Everything is off by default.

    A new augmentation is a field here, with its description, and its lines in :mod:`cnnlab.data.batch_augment`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: bool | Literal["alternate"] = Field(
        False,
        description="whether images are mirrored with probability 1/2 (Krizhevsky et al., ImageNet Classification with "
        "Deep Convolutional Neural Networks, 2012, section 4.1); alternate: half of the images at random in the first "
        "epoch, and each image every other epoch (Jordan, 94% on CIFAR-10 in 3.29 Seconds, 2024, section 3.6)",
    )
    crop: int = Field(
        0,
        ge=0,
        description="number of pixels that pad each side before the original size is cut at a random position "
        "(He et al., Deep Residual Learning for Image Recognition, 2016, section 4.2)",
    )
    crop_fill: Literal["black", "reflect"] = Field(
        "black", description="pixels that pad the sides before a crop: black ones, or the mirrored image"
    )
    crop_scale: float | None = Field(
        None,
        gt=0,
        le=1,
        description="least area, as a share, of a box of aspect ratio 3/4..4/3 that is cut at random and resized "
        "(Szegedy et al., Going Deeper with Convolutions, 2015, section 6); 0.08 is usual for ImageNet",
    )
    cutout: int = Field(
        0,
        ge=0,
        description="side in pixels of a square at a random position that is set to the mean colour; it may extend "
        "beyond the border (DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, "
        "2017, section 3.2)",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        description="alpha of Beta(alpha, alpha), the share of the first image when pairs are blended (Zhang et al., "
        "mixup: Beyond Empirical Risk Minimization, 2018, section 2); one share per batch, as in the authors' code",
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        description="alpha of Beta(alpha, alpha), the share of the first image when a box of another one is pasted "
        "into it (Yun et al., CutMix, 2019, section 3.1); one box per batch; with mixup as well, each batch takes one "
        "of the two with probability 1/2",
    )
    kornia: list[dict[str, Any]] = Field(
        [],
        description="transforms of kornia.augmentation by name with their arguments, such as "
        '{"name": "RandomAffine", "degrees": 10}; needs `pip install "cnnlab[augment]"`',
    )

    @field_validator("flip", mode="wrap")
    @classmethod
    def _kind_of_flip(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:  # of each kind on its own, which names only the first
            raise ValueError(f"expected true, false or alternate, got {value!r}") from None

    @property
    def active(self) -> bool:
        """Whether anything is on."""
        return any(getattr(self, name) for name in type(self).model_fields if name != "crop_fill")

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, so that targets are shares of classes instead of labels."""
        return self.mixup > 0 or self.cutmix > 0
