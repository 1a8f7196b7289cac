"""Generators and discriminators: one file per paper; :mod:`cnnlab.generate.gans.pair` finds them by name."""
