"""Recipes that ship with the package: one YAML file is one reproducible run."""
