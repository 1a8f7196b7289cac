EXERCISE = "tv_loss"
WRONG = "The mean instead of the sum."
NAMED = "The squares are averaged"
AT_FIRST_SIGHT = False
ROUND = 2


def tv_loss(image, weight):
    across = (image[..., 1:] - image[..., :-1]) ** 2
    down = (image[..., 1:, :] - image[..., :-1, :]) ** 2
    return weight * (across.mean() + down.mean())
