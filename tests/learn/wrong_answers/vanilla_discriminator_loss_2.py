import torch

EXERCISE = "vanilla_discriminator_loss"
WRONG = "The two terms are averaged, so that the loss is half as large."
NAMED = "The loss is halved"
AT_FIRST_SIGHT = True


def vanilla_discriminator_loss(real, fake):
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    return (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))) / 2
