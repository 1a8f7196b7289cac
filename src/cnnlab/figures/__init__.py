"""Arrays in, matplotlib figure out: curves, confusion, reliability, grids of images and filters, heat maps.

Every function returns a :class:`matplotlib.figure.Figure` built with the object API, so that nothing depends on
pyplot's global state, a display or a backend. :func:`save` writes a figure, :func:`to_png` returns it as bytes and
:func:`to_svg` as markup that takes its colours from the page it is put into (light or dark). :func:`to_picture` makes
pixels of an array or a tensor.

Colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), which stay apart for colour-blind
readers; the lightness (CIELAB) of the colour maps changes evenly. Texts are never parsed as formulas: a class may be
called ``"$5"``.
"""

from cnnlab.figures.activations import distributions, embedding, feature_maps, features_beside, top_images
from cnnlab.figures.bar_charts import bars, histograms, reliability
from cnnlab.figures.changed_images import before_and_after, fooling
from cnnlab.figures.convolution import filters, kernel_results, output_pixel
from cnnlab.figures.heatmaps import blend, comparison, overlay
from cnnlab.figures.images import image_grid, sample_grid, to_picture
from cnnlab.figures.intervals import Effect, bands, effects
from cnnlab.figures.line_charts import cross_validation, curves, faithfulness_curves, find_lr_curve, lines
from cnnlab.figures.matrices import confusion, heat_map
from cnnlab.figures.style import (
    BLUE,
    GREEN,
    GRID,
    HEAT,
    INK,
    MUTED,
    ORANGE,
    Drawable,
    save,
    save_animation,
    shorten,
    to_png,
    to_svg,
)
from cnnlab.figures.surface import paths_on_surface
from cnnlab.figures.timelines import Milestone, timeline
from cnnlab.figures.trial_charts import trial_history, trial_settings

__all__ = [
    "BLUE",
    "GREEN",
    "GRID",
    "HEAT",
    "INK",
    "MUTED",
    "ORANGE",
    "Drawable",
    "Effect",
    "Milestone",
    "bands",
    "bars",
    "before_and_after",
    "blend",
    "comparison",
    "confusion",
    "cross_validation",
    "curves",
    "distributions",
    "effects",
    "embedding",
    "faithfulness_curves",
    "feature_maps",
    "features_beside",
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
    "paths_on_surface",
    "reliability",
    "sample_grid",
    "save",
    "save_animation",
    "shorten",
    "timeline",
    "to_picture",
    "to_png",
    "to_svg",
    "top_images",
    "trial_history",
    "trial_settings",
]
