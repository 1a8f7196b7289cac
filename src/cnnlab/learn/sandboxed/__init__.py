"""The process in which a student's answer runs while a class is graded.

It is started as a package of its own, beside ``cnnlab`` and without it: the answers to the exercises are in ``cnnlab``.
Nothing here imports more than the standard library, NumPy and, for exercises that need it, torch.
:mod:`cnnlab.learn.sandbox` is the other side.
"""
