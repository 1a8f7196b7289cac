"""Choosing a network: the catalogue, measured speed and memory, and advice for a data set and a budget."""
