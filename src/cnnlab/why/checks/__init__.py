"""The checks: each file is one, see :mod:`cnnlab.why.check`."""
