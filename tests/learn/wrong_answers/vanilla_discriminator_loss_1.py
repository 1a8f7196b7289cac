import torch

EXERCISE = "vanilla_discriminator_loss"
WRONG = "The labels are swapped: real images are taught as fake."
NAMED = "Real and generated images are swapped"
AT_FIRST_SIGHT = True


def vanilla_discriminator_loss(real, fake):
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    return bce(real, torch.zeros_like(real)) + bce(fake, torch.ones_like(fake))
