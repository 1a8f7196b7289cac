import torch

EXERCISE = "gradcam"
WRONG = "The largest gradient of a channel is its weight, not the mean."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 2


def gradcam(probe, *, aligned=True):
    weights = torch.amax(probe.gradient, dim=(2, 3), keepdim=True)
    return probe.enlarge((weights * probe.activation).sum(dim=1).relu(), aligned)
