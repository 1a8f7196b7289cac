"""ResNeXt-50 (32x4d) and ResNeXt-101 (32x8d).

Saining Xie, Ross Girshick, Piotr Dollár, Zhuowen Tu, Kaiming He: Aggregated residual transformations for deep neural
networks. CVPR 2017. https://arxiv.org/abs/1611.05431

Introduced: cardinality as a third dimension beside depth and width: a residual block adds up 32 narrow transformations
of the same shape, which are one grouped convolution.
Reported (ImageNet validation, one 224x224 crop): 22.2 % top-1 error for ResNeXt-50 (32x4d), against 23.9 % for
ResNet-50 (table 3); nothing for ResNeXt-101 (32x8d), whose neighbours have 21.2 % and 5.6 % (32x4d) and 20.4 % and
5.3 % top-5 error (64x4d, table 5).

Deviations from the paper: none for 224x224. For images up to 64x64 the stem is that of a small ResNet, a 3x3
convolution of stride 1 without pooling; the paper's own networks for CIFAR have three stages and are others. The 32x8d
network is torchvision's. The block (the paper's figure 3 (c)), stem, stages, head, initialisation (He et al. 2015) and
``drop_path`` are those of :mod:`cnnlab.zoo.resnet`. Parameter names are torchvision's.
"""

from __future__ import annotations

from functools import partial

from cnnlab.zoo._registry import Paper, Variant, torchvision
from cnnlab.zoo.resnet import WIDE, Bottleneck, ResNet

PAPER = Paper(
    "Xie, Girshick, Dollár, Tu, He: Aggregated residual transformations for deep neural networks",
    year=2016,
    url="https://arxiv.org/abs/1611.05431",
    introduced="Cardinality: residual blocks of 32 parallel transformations, as one grouped convolution.",
    min_size=8,
    small="with a small stem",
    protocol="one crop",
)

resnext50_32x4d = PAPER.register(
    partial(ResNet, partial(Bottleneck, cardinality=32, width=4), WIDE, (3, 4, 6, 3)),
    Variant(
        "resnext50_32x4d",
        "ResNeXt-50 of 32 groups of 4 channels",
        parameters=25_028_904,
        macs=4_230_479_872,
        errors=(22.2, None),
        aliases=("resnext",),
    ),
    torchvision("resnext50_32x4d-7cdf4587", top1=77.618),
)
resnext101_32x8d = PAPER.register(
    partial(ResNet, partial(Bottleneck, cardinality=32, width=8), WIDE, (3, 4, 23, 3)),
    Variant("resnext101_32x8d", "ResNeXt-101 of 32 groups of 8 channels", parameters=88_791_336, macs=16_414_015_488),
    torchvision("resnext101_32x8d-8ba56ff5", top1=79.312),
)
