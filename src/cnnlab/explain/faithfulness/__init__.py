"""Metrics of the faithfulness of a map to the network: deletion, insertion, completeness, randomised weights."""
