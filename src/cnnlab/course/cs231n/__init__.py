"""The modules that the course's notebooks import, under the course's names.

Only names, arguments, return values and printed lines are the course's; the work is done in :mod:`cnnlab.scratch`,
:mod:`cnnlab.data`, :mod:`cnnlab.explain` and :mod:`cnnlab.generate`. ``__all__`` of each module lists what a notebook
gets by ``from cs231n.layers import *``.
"""
