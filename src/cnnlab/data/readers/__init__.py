"""Readers of file formats: IDX, CIFAR batches, CSV tables, folders of photos."""
