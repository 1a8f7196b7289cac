"""The explanations: one file per method, one function from a :class:`~cnnlab.explain.probe.Probe` to a map in each."""
