"""The settings of augmentation; :mod:`cnnlab.data.batch_augment` applies them. torch is not imported."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Augment(BaseModel):
    """What is changed at random in the training images. Everything is off by default.

    Args:
        flip: mirror left and right with probability 1/2 (Krizhevsky et al., ImageNet Classification with Deep
            Convolutional Neural Networks, 2012, section 4.1).
        crop: pad with this many black pixels on each side and cut the original size at a random place (He et al., Deep
            Residual Learning for Image Recognition, 2016, section 4.2).
        crop_scale: cut a box of a random share of the area, from this to 1, of aspect ratio 3/4..4/3, and resize it
            (Szegedy et al., Going Deeper with Convolutions, 2015, section 6). 0.08 is usual for ImageNet.
        cutout: side in pixels of a square at a random place that is set to the mean colour; it may stick out at the
            border (DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017,
            section 3.2).
        mixup: alpha of Beta(alpha, alpha), the share of the first image when pairs are blended (Zhang et al., mixup:
            Beyond Empirical Risk Minimization, 2018, section 2); one share per batch, as in the authors' code.
        cutmix: alpha of Beta(alpha, alpha), the share of the first image when a box of another one is pasted into it
            (Yun et al., CutMix, 2019, section 3.1); one box per batch. With mixup as well, each batch takes one of
            the two with probability 1/2.
        kornia: transforms of ``kornia.augmentation`` by name with their arguments, such as
            ``{"name": "RandomAffine", "degrees": 10}``. Needs ``pip install "cnnlab[augment]"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: bool = False
    crop: Annotated[int, Field(ge=0)] = 0
    crop_scale: Annotated[float, Field(gt=0, le=1)] | None = None
    cutout: Annotated[int, Field(ge=0)] = 0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    kornia: list[dict[str, Any]] = []

    @property
    def active(self) -> bool:
        """Whether anything is on."""
        return any(getattr(self, name) for name in type(self).model_fields)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, so that targets are shares of classes instead of labels."""
        return self.mixup > 0 or self.cutmix > 0
