import torch

EXERCISE = "paste_box"
WRONG = "Rows and columns of the box are exchanged."
NAMED = "Rows and columns are swapped"
AT_FIRST_SIGHT = True
ROUND = 2


def paste_box(images, partner, box):
    top, bottom, left, right = box
    out = images.clone()
    out[:, :, left:right, top:bottom] = images[partner][:, :, left:right, top:bottom]
    return out, 1 - (bottom - top) * (right - left) / torch.numel(images[0, 0])
