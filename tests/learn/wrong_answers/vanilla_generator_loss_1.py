import torch

EXERCISE = "vanilla_generator_loss"
WRONG = "The saturating loss: log(1 - D) is minimised, instead of -log D."
NAMED = "That is the loss that saturates, mean log(1 - D)"
AT_FIRST_SIGHT = True


def vanilla_generator_loss(fake):
    return -torch.nn.functional.softplus(fake).mean()
