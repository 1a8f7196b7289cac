import torch

EXERCISE = "style_loss"
WRONG = "The weights are not used."
NAMED = "The weights of the layers are not used"
AT_FIRST_SIGHT = True


def style_loss(features, layers, targets, weights):
    loss = torch.zeros(())
    for layer, target in zip(layers, targets, strict=True):
        n, c, h, w = features[layer].shape
        flat = features[layer].reshape(n, c, h * w)
        loss = loss + ((flat @ flat.transpose(1, 2) / (c * h * w) - target) ** 2).sum()
    return loss
