"""The doctor for trainings: examine a script, a recipe or a run, and rank what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

from cnnlab.errors import UnknownNameError
from cnnlab.why.diagnosis import Diagnosis
from cnnlab.why.process import examine_script, split_target


def examine(
    target: str | os.PathLike[str], *, data_dir: str | None = None, data: str | None = None, time_limit: float = 90.0
) -> Diagnosis:
    """Examine why a training does not learn.

    Args:
        target: ``SCRIPT.py:make_model``, the folder of a run, or the name or YAML file of a recipe.
        data_dir: folder to look for data sets in first, for recipes and runs.
        data: data set, folder or CSV file to use instead of the recipe's.
        time_limit: seconds after which a script is stopped.

    Raises:
        UsageError: there is no such script, function, run or recipe; or the script fails before anything can be seen.
        DataError, ModelError: a recipe cannot be prepared.
    """
    text = os.fspath(target)
    if ".py:" in text or text.endswith(".py"):
        return examine_script(*split_target(text), time_limit)
    # A script is examined in a process of its own, so only the rest needs torch here, which takes seconds to load.
    import torch

    from cnnlab.runs.training_folder import is_run
    from cnnlab.training.shipped import list_recipes
    from cnnlab.why.examination import examine_subject
    from cnnlab.why.recipe_subject import recipe_subject
    from cnnlab.why.run_findings import examine_run

    if is_run(Path(text)):
        return examine_run(Path(text), data_dir, data)
    if not text.endswith((".yaml", ".yml")) and text not in list_recipes():
        hint = "A script is named FILE.py:make_model; `cnnlab runs` lists the runs, `cnnlab recipes` the recipes."
        raise UnknownNameError("script, run folder or recipe", text, list_recipes(), hint)
    with torch.random.fork_rng():
        return examine_subject(recipe_subject(text, data_dir, data))
