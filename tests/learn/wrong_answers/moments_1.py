EXERCISE = "moments"
WRONG = "The covariance is divided by the number of positions less one."
NAMED = "The products are divided by H * W - 1"
AT_FIRST_SIGHT = True


def moments(features):
    flat = features.flatten(2)
    mean = flat.mean(dim=2)
    centred = flat - mean[:, :, None]
    return mean, centred @ centred.transpose(1, 2) / (flat.shape[2] - 1)
