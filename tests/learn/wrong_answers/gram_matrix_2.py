import torch

EXERCISE = "gram_matrix"
WRONG = "Normalised by the number of positions alone; the channels are left out."
NAMED = "The sums are divided by H * W only"
AT_FIRST_SIGHT = True


def gram_matrix(features, normalize=True):
    n, c, h, w = features.shape
    flat = features.view(n, c, -1)
    gram = torch.bmm(flat, flat.permute(0, 2, 1))
    if normalize:
        gram = gram / (h * w)
    return gram
