"""Adversarial examples: images changed so little that nobody sees it, which the network takes for another class."""
