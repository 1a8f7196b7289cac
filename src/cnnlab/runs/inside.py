"""An old name, which keeps working for one release."""

from cnnlab.deprecation import renamed

__getattr__ = renamed(__name__, {"open_network": "cnnlab.runs.classifier:open_classifier"})
