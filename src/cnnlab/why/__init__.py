"""Why does it not learn? A doctor for trainings: it examines a script, a recipe or a run, and ranks what it finds.

::

    diagnosis = cnnlab.why.examine("train.py:make_model")   # or the name of a recipe, or the folder of a run
    diagnosis.first                                         # the cause to mend first, None when all is well
    write_page(diagnosis, "why.html")
"""

from __future__ import annotations

from cnnlab.why.diagnosis import Diagnosis, Finding, Plot
from cnnlab.why.doctor import examine
from cnnlab.why.examination import examine_subject
from cnnlab.why.page import write_page
from cnnlab.why.subject import Subject

__all__ = ["Diagnosis", "Finding", "Plot", "Subject", "examine", "examine_subject", "write_page"]
