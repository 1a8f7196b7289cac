EXERCISE = "tv_loss"
WRONG = "Absolute differences instead of squares."
NAMED = "The differences are not squared but taken by their absolute values"
AT_FIRST_SIGHT = True


def tv_loss(image, weight):
    across = (image[..., 1:] - image[..., :-1]).abs().sum()
    down = (image[..., 1:, :] - image[..., :-1, :]).abs().sum()
    return weight * (across + down)
