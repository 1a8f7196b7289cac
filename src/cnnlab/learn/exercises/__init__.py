"""One file for each exercise or small family of exercises; see :mod:`cnnlab.learn.exercise`."""
