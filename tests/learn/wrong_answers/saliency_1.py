import torch

EXERCISE = "saliency"
WRONG = "The largest value over the channels is taken with its sign: the absolute value is missing."
NAMED = "The absolute value is missing"
AT_FIRST_SIGHT = True


def saliency(probe):
    return torch.amax(probe.input_gradient[0], dim=0)
