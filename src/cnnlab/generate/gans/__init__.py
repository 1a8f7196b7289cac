"""Generative adversarial networks: networks, losses, training as a stream of events, samples and measures."""
