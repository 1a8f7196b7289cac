"""The recipes of captioning networks that ship: YAML files, see :mod:`cnnlab.generate.captions.recipe`."""
