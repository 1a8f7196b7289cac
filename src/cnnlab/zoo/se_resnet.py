"""SE-ResNet-18 and SE-ResNet-50, residual networks with squeeze-and-excitation.

Jie Hu, Li Shen, Samuel Albanie, Gang Sun, Enhua Wu: Squeeze-and-excitation networks. CVPR 2018 (by Hu, Shen and Sun),
TPAMI 2020. https://arxiv.org/abs/1709.01507

Introduced: a gate per channel that sees the average of all channels, so that a block weighs its features by what is in
the image; winner of ILSVRC 2017.
Reported (ImageNet validation, one 224x224 crop, table 2): 23.29 % top-1 and 6.62 % top-5 error for SE-ResNet-50,
against 24.80 % and 7.48 % for ResNet-50; nothing for 18 layers.

Deviations from the paper: the gates have a sixteenth of the channels, but at least 8 (timm's rule; the paper's
sixteenth of 64 channels would be 4). In bottleneck blocks the 3x3 convolution has the stride, not the first 1x1
convolution. For images up to 64x64 the stem is that of a small ResNet, a 3x3 convolution of stride 1 without pooling.
Blocks (the paper's figure 3), stem, stages, head, initialisation (He et al. 2015) and ``drop_path`` are those of
:mod:`cnnlab.zoo.resnet`. Parameter names are timm's.
"""

from __future__ import annotations

from functools import partial

from cnnlab.zoo._registry import Paper, Pretrained, Variant
from cnnlab.zoo.resnet import NARROW, WIDE, BasicBlock, Bottleneck, ResNet

PAPER = Paper(
    "Hu, Shen, Albanie, Sun, Wu: Squeeze-and-excitation networks",
    year=2017,
    url="https://arxiv.org/abs/1709.01507",
    introduced="A gate per channel that sees the average of all channels.",
    min_size=8,
    small="with a small stem",
    protocol="one crop",
)

se_resnet18 = PAPER.register(
    partial(ResNet, partial(BasicBlock, se=True), NARROW, (2, 2, 2, 2)),
    Variant("se_resnet18", "SE-ResNet-18", parameters=11_779_624, macs=1_814_161_408, aliases=("senet", "se")),
)
se_resnet50 = PAPER.register(
    partial(ResNet, partial(Bottleneck, se=True), WIDE, (3, 4, 6, 3)),
    Variant("se_resnet50", "SE-ResNet-50", parameters=28_088_024, macs=4_091_699_200, errors=(23.29, 6.62)),
    Pretrained(
        "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/seresnet50_ra_224-8efdb4bb.pth",
        top1=80.274,
        interpolation="bicubic",
    ),
)
