"""The same as the study ``batchnorm``, with ReLU and He's initialisation in place of sigmoids."""

from __future__ import annotations

from typing import Any, ClassVar

from cnnlab.experiments.studies.batchnorm import HIDDEN, BatchNorm
from cnnlab.experiments.study import Claim, Difference, accuracy_gain, register_study


@register_study
class BatchNormReLU(BatchNorm):
    """Two feed-forward networks of ReLU units that start well, one with BatchNorm, trained side by side."""

    title = "Does BatchNorm help where ReLU and a good start already do?"
    about = (
        "The study batchnorm with one change: ReLU in place of the sigmoid, and the initialisation that was made for "
        "it (He et al. 2015). The plain network then has neither saturated units nor vanishing gradients at the start."
    )
    claims = (
        Claim(
            "With BatchNorm the training loss is lower after the same number of epochs.",
            "Ioffe, Szegedy: Batch Normalization, 2015, section 1; CNN notebooks: BatchNorm on MNIST",
            Difference("plain", "batchnorm", "train_loss"),
            worth=0.01,
            unit="nats of training loss",
        ),
        Claim(
            "With BatchNorm the test accuracy is higher after the same number of epochs.",
            "CNN notebooks: BatchNorm on MNIST",
            accuracy_gain("batchnorm", "plain"),
            worth=0.5,
        ),
    )
    network: ClassVar[dict[str, Any]] = {"hidden": HIDDEN}
