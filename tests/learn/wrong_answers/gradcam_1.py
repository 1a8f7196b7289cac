EXERCISE = "gradcam"
WRONG = "Negative values are kept: the ReLU is missing."
NAMED = "The positive part is missing"
AT_FIRST_SIGHT = True


def gradcam(probe, *, aligned=True):
    weights = probe.gradient.mean(dim=(2, 3), keepdim=True)
    cam = (weights * probe.activation).sum(dim=1)
    return probe.enlarge(cam, aligned)
