EXERCISE = "paste_box"
WRONG = "The share of the box is returned instead of the share that was kept."
NAMED = "The share is that of the box"
AT_FIRST_SIGHT = True


def paste_box(images, partner, box):
    top, bottom, left, right = box
    out = images.clone()
    out[:, :, top:bottom, left:right] = images[partner][:, :, top:bottom, left:right]
    share = (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
    return out, share
