"""Adversarial examples: images with a change that people do not notice, which the network takes for another class."""
