import numpy as np

EXERCISE = "rgb_to_hue"
WRONG = "Green and blue are exchanged: their sectors begin at 4 and 2."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 2


def rgb_to_hue(images):
    r, g, b = images[:, 0], images[:, 1], images[:, 2]
    high, low = images.max(axis=1), images.min(axis=1)
    d = np.where(high > low, high - low, 1)
    hue = np.where(high == r, (g - b) / d, np.where(high == g, (b - r) / d + 4, (r - g) / d + 2))
    return hue / 6 % 1
