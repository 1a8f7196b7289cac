EXERCISE = "tv_loss"
WRONG = "Only horizontal neighbours are compared."
NAMED = "Only differences along rows count"
AT_FIRST_SIGHT = True


def tv_loss(image, weight):
    return weight * ((image[:, :, :, 1:] - image[:, :, :, :-1]) ** 2).sum()
