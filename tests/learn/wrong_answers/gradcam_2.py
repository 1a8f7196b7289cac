EXERCISE = "gradcam"
WRONG = "The gradients are not averaged over the positions: they weigh each position by itself."
NAMED = "Each position is multiplied with its own gradient"
AT_FIRST_SIGHT = True


def gradcam(probe, *, aligned=True):
    cam = (probe.gradient * probe.activation).sum(dim=1).clamp(min=0)
    return probe.enlarge(cam, aligned)
