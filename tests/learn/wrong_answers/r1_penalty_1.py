import torch

EXERCISE = "r1_penalty"
WRONG = "The gradient is taken without create_graph, so that the penalty has no gradient itself."
NAMED = "is create_graph=True missing"
AT_FIRST_SIGHT = False


def r1_penalty(discriminator, images):
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images)
    return (gradient**2).flatten(1).sum(dim=1).mean() / 2
