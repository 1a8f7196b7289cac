"""torch.hub entry points: every network of the zoo, by its registered name.

torch.hub.list("OWNER/cnnlab")
torch.hub.help("OWNER/cnnlab", "resnet20")
model = torch.hub.load(".", "resnet20", source="local", num_classes=10, weights="resnet20.safetensors")
model = torch.hub.load(".", "efficientnet_lite0", source="local", weights="imagenet")
"""

import sys as _sys
from pathlib import Path as _Path

# What building a network and reading weights needs; torch.hub says which of them are missing before it starts.
dependencies = ["torch", "numpy", "pydantic", "safetensors", "platformdirs", "requests"]

_source = str(_Path(__file__).resolve().parent / "src")
_sys.path.insert(0, _source)
try:
    from cnnlab.zoo import create_model as _create_model
    from cnnlab.zoo import models as _models

    _entries = list(_models)
finally:
    _sys.path.remove(_source)


def _entry_point(name, documentation):
    def build(*arguments, **options):
        return _create_model(name, *arguments, **options)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""{documentation}

Arguments are those of ``cnnlab.create_model`` after the name: ``num_classes``, ``in_channels``, ``image_size``,
``weights`` (``"imagenet"``, a file or None), ``head``, and the options of the network.
"""
    return build


for _entry in _entries:
    globals()[_entry.name] = _entry_point(_entry.name, _entry.factory.__doc__)
