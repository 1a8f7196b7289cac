"""What layers compute: filters, feature maps, embeddings, and their statistics during a training."""
