import torch

EXERCISE = "saliency"
WRONG = "The mean over the channels instead of the maximum."
NAMED = "The channels are averaged"
AT_FIRST_SIGHT = True


def saliency(probe):
    return torch.mean(probe.input_gradient.abs(), dim=1).squeeze(0)
