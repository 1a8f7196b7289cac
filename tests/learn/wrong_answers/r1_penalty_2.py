import torch

EXERCISE = "r1_penalty"
WRONG = "The norm is not squared."
NAMED = "The norm is not squared"
AT_FIRST_SIGHT = True


def r1_penalty(discriminator, images):
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return gradient.flatten(1).norm(dim=1).mean() / 2
