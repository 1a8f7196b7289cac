"""Arrays in, matplotlib figure out: curves, confusion, reliability, grids of images and filters, plots of studies.

Every function returns a :class:`matplotlib.figure.Figure` built with the object API, so that nothing depends on
pyplot's global state, a display or a backend. :func:`save` writes a figure, :func:`to_png` returns it as bytes and
:func:`to_svg` as markup that takes its colours from the page it is put into (light or dark).

Colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), which stay apart for colour-blind
readers; the colour map's lightness (CIELAB) falls evenly from pale to dark blue. Texts are never parsed as
formulas: a class may be called ``"$5"``.
"""

from cnnlab.figures.by_hand import kernel_results, output_pixel
from cnnlab.figures.charts import confusion, curves, find_lr_curve, reliability
from cnnlab.figures.images import filters, image_grid, sample_grid, to_picture
from cnnlab.figures.inside import (
    before_and_after,
    embedding,
    feature_maps,
    features_beside,
    filter_grid,
    fooling,
    top_images,
)
from cnnlab.figures.maps import blend, overlay
from cnnlab.figures.plots import cross_validation, heat_map, histograms, lines
from cnnlab.figures.style import BLUE, GREEN, GRID, HEAT, INK, MUTED, ORANGE, save, shorten, to_png, to_svg
from cnnlab.figures.trust import comparison, trust_curves
from cnnlab.figures.watching import distributions

__all__ = [
    "BLUE",
    "GREEN",
    "GRID",
    "HEAT",
    "INK",
    "MUTED",
    "ORANGE",
    "before_and_after",
    "blend",
    "comparison",
    "confusion",
    "cross_validation",
    "curves",
    "distributions",
    "embedding",
    "feature_maps",
    "features_beside",
    "filter_grid",
    "filters",
    "find_lr_curve",
    "fooling",
    "heat_map",
    "histograms",
    "image_grid",
    "kernel_results",
    "lines",
    "output_pixel",
    "overlay",
    "reliability",
    "sample_grid",
    "save",
    "shorten",
    "to_picture",
    "to_png",
    "to_svg",
    "top_images",
    "trust_curves",
]
