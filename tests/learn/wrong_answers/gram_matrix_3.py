EXERCISE = "gram_matrix"
WRONG = "The images of the batch are put together before the product."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 2


def gram_matrix(features, normalize=True):
    n, c, h, w = features.shape
    flat = features.reshape(c, n * h * w)
    gram = (flat @ flat.T)[None]
    return gram / (c * h * w) if normalize else gram
