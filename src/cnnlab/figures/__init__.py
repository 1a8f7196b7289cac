"""Arrays in, matplotlib figure out: curves, confusion, reliability, grids of images and filters, heat maps.

Every function returns a :class:`matplotlib.figure.Figure` built with the object API, so that nothing depends on
pyplot's global state, a display or a backend. :func:`save` writes a figure, :func:`to_png` returns it as bytes and
:func:`to_svg` as markup that takes its colours from the page it is put into (light or dark). :func:`to_picture` makes
pixels of an array or a tensor.

Colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), which stay apart for colour-blind
readers; the lightness (CIELAB) of the colour maps changes evenly. Texts are never parsed as formulas: a class may be
called ``"$5"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.lazy import attributes_from

if TYPE_CHECKING:
    from cnnlab.figures.activations import distributions, embedding, feature_maps, features_beside, top_images
    from cnnlab.figures.bar_charts import bars, histograms, reliability
    from cnnlab.figures.changed_images import before_and_after, fooling
    from cnnlab.figures.convolution import filters, kernel_results, output_pixel
    from cnnlab.figures.drawable import Drawable
    from cnnlab.figures.heatmaps import blend, comparison, overlay
    from cnnlab.figures.images import image_grid, sample_grid
    from cnnlab.figures.intervals import Effect, bands, effects
    from cnnlab.figures.line_charts import cross_validation, curves, faithfulness_curves, find_lr_curve, lines
    from cnnlab.figures.matrices import confusion, heat_map
    from cnnlab.figures.pictures import to_picture
    from cnnlab.figures.style import (
        BLUE,
        GREEN,
        GRID,
        HEAT,
        INK,
        MUTED,
        ORANGE,
        save,
        save_animation,
        shorten,
        to_png,
        to_svg,
    )
    from cnnlab.figures.surface import paths_on_surface
    from cnnlab.figures.timelines import Milestone, timeline
    from cnnlab.figures.trial_charts import trial_history, trial_settings

_MODULE_OF = {
    "BLUE": ".style",
    "Drawable": ".drawable",
    "Effect": ".intervals",
    "GREEN": ".style",
    "GRID": ".style",
    "HEAT": ".style",
    "INK": ".style",
    "MUTED": ".style",
    "Milestone": ".timelines",
    "ORANGE": ".style",
    "bands": ".intervals",
    "bars": ".bar_charts",
    "before_and_after": ".changed_images",
    "blend": ".heatmaps",
    "comparison": ".heatmaps",
    "confusion": ".matrices",
    "cross_validation": ".line_charts",
    "curves": ".line_charts",
    "distributions": ".activations",
    "effects": ".intervals",
    "embedding": ".activations",
    "faithfulness_curves": ".line_charts",
    "feature_maps": ".activations",
    "features_beside": ".activations",
    "filters": ".convolution",
    "find_lr_curve": ".line_charts",
    "fooling": ".changed_images",
    "heat_map": ".matrices",
    "histograms": ".bar_charts",
    "image_grid": ".images",
    "kernel_results": ".convolution",
    "lines": ".line_charts",
    "output_pixel": ".convolution",
    "overlay": ".heatmaps",
    "paths_on_surface": ".surface",
    "reliability": ".bar_charts",
    "sample_grid": ".images",
    "save": ".style",
    "save_animation": ".style",
    "shorten": ".style",
    "timeline": ".timelines",
    "to_picture": ".pictures",
    "to_png": ".style",
    "to_svg": ".style",
    "top_images": ".activations",
    "trial_history": ".trial_charts",
    "trial_settings": ".trial_charts",
}

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

__getattr__ = attributes_from(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return sorted(__all__)
