"""The outputs of layers: filters, feature maps, embeddings, and their statistics during a training."""
