"""One number of a network, worked out: its operands, the steps of the computation, and a sentence that says it."""

from cnnlab.microscope.arithmetic.axes import index_of, places_of, to_view, view_shape

__all__ = ["index_of", "places_of", "to_view", "view_shape"]
