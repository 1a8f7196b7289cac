import numpy as np

EXERCISE = "rgb_to_hue"
WRONG = "Negative hues, between magenta and red, are not wrapped into 0..1."
NAMED = "Hues between blue and red come out negative"
AT_FIRST_SIGHT = True


def rgb_to_hue(images):
    r, g, b = images[:, 0], images[:, 1], images[:, 2]
    high, low = images.max(axis=1), images.min(axis=1)
    d = np.where(high > low, high - low, 1)
    hue = np.where(high == r, (g - b) / d, np.where(high == g, (b - r) / d + 2, (r - g) / d + 4))
    return hue / 6
