"""One number of a network, worked out: its operands, the steps of the computation, and a sentence that says it.

``work_out`` takes an operation of a recorded pass and a place in its output. The families of operations have a file
each; ``axes`` says where the numbers of a tensor of any layout are shown.
"""

from cnnlab.microscope.arithmetic.axes import index_of, places_of, to_view, view_shape
from cnnlab.microscope.arithmetic.dispatch import work_out
from cnnlab.microscope.arithmetic.moves import moved_positions
from cnnlab.microscope.arithmetic.recomputing import recompute

__all__ = ["index_of", "moved_positions", "places_of", "recompute", "to_view", "view_shape", "work_out"]
