"""The recipes of GANs that ship with the package: YAML files, see :mod:`cnnlab.generate.gans.recipe`."""
