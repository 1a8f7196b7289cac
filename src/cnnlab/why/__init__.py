"""Why does it not learn? A doctor for trainings: it examines a script, a recipe or a run, and ranks what it finds.

::

    diagnosis = cnnlab.why.examine("train.py:make_model")   # or the name of a recipe, or the folder of a run
    diagnosis.first                                         # the cause to mend first, None when all is well
    write_page(diagnosis, "why.html")

Its names are loaded when they are first used: a script is examined in a process of its own, and the one that waits for
it needs no torch.
"""

from __future__ import annotations

from cnnlab.lazy import attributes_from

_HOME = {
    "Diagnosis": ".diagnosis",
    "Finding": ".diagnosis",
    "Plot": ".diagnosis",
    "Subject": ".subject",
    "examine": ".doctor",
    "examine_subject": ".examination",
    "write_page": ".page",
}

__all__ = sorted(_HOME)
__getattr__ = attributes_from(__name__, _HOME)
