import torch

EXERCISE = "content_loss"
WRONG = "The mean instead of the sum of the squared differences."
NAMED = "The squares are averaged"
AT_FIRST_SIGHT = True


def content_loss(weight, features, target):
    return weight * torch.nn.functional.mse_loss(features, target)
