import torch

EXERCISE = "hinge_discriminator_loss"
WRONG = "The signs of real and generated logits are swapped."
NAMED = "Real and generated images are swapped"
AT_FIRST_SIGHT = True


def hinge_discriminator_loss(real, fake):
    return torch.relu(1 + real).mean() + torch.relu(1 - fake).mean()
