"""AlexNet, in the form with a single tower.

Alex Krizhevsky, Ilya Sutskever, Geoffrey Hinton: ImageNet classification with deep convolutional neural networks.
NIPS 2012. https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks
Alex Krizhevsky: One weird trick for parallelizing convolutional neural networks. 2014. https://arxiv.org/abs/1404.5997

Introduced: a large convolutional network trained on GPUs with ReLU, dropout and augmentation, which won ImageNet by a
wide margin and started the present interest in deep networks.
Reported (ImageNet 2012 validation, two towers, ten crops): 40.7 % top-1 and 18.2 % top-5 error for one network; 36.7 %
and 15.4 % for seven, which had 15.3 % top-5 error on the test images.

Deviations from the paper of 2012:

- One tower of 64, 192, 384, 256 and 256 channels, as in the paper of 2014, instead of two towers on two GPUs that
  exchange their maps only after the second pooling and in the dense layers.
- No local response normalisation. The first convolution pads by 2, so that 224x224 pixels give 55x55.
- The last maps are averaged to 6x6 before the dense layers, which changes nothing at 224x224 and allows other sizes
  from 63x63. No small stem is customary: smaller images are enlarged.
- Dropout acts on the inputs of the two hidden dense layers, not on their outputs, as in torchvision, whose parameter
  names these are.
- Initialisation: He et al. 2015. The paper draws from N(0, 0.01), with biases of 1 in some layers.
"""

from __future__ import annotations

from torch import Tensor, nn

from cnnlab.zoo._layers import dense, he_init
from cnnlab.zoo._network import Network, numbered_stages
from cnnlab.zoo._registry import Rate, register_model, torchvision


class AlexNet(Network):
    """Five convolutions, three poolings and three dense layers; shapes are for 224x224 images."""

    stages = numbered_stages("features.2", "features.5", "features.12", head="classifier")

    def __init__(self, num_classes: int, in_channels: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),  # 55x55
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),  # 27x27; the windows overlap, section 3.4
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),  # 13x13
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),  # 6x6
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            dense(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            dense(4096, 4096),
            nn.ReLU(inplace=True),
            dense(4096, num_classes),
        )
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 256, 6, 6)
        x = self.avgpool(x).flatten(1)  # (N, 9216)
        return self.classifier(x)  # (N, num_classes)


@register_model(
    paper="Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks",
    year=2012,
    url="https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks",
    introduced="A large network with ReLU and dropout, trained on GPUs, that won ImageNet by a wide margin.",
    parameters=61_100_840,
    macs=714_188_480,
    min_size=63,
    pretrained=torchvision("alexnet-owt-7be5be79", top1=56.522),
    errors=(40.7, 18.2),
    better_top5_errors=((15.3, "seven networks, two of them first trained on more images"),),
    protocol="one network, two towers, ten crops",
)
def alexnet(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> AlexNet:
    """AlexNet with one tower (Krizhevsky et al. 2012, Krizhevsky 2014).

    ``dropout``: rate before each of the two hidden dense layers. Images of 63x63 pixels and more; the weights do not
    depend on their size.
    """
    return AlexNet(num_classes, in_channels, dropout)
