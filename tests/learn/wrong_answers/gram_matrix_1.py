EXERCISE = "gram_matrix"
WRONG = "The product is taken over the channels, so that the matrix is one of positions."
NAMED = "The products are summed over the channels"
AT_FIRST_SIGHT = True


def gram_matrix(features, normalize=True):
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    gram = flat.transpose(1, 2) @ flat
    return gram / (c * h * w) if normalize else gram
