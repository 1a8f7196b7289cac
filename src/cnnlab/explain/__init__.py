"""Looking inside: what a network learned, and why it answers as it does; for any `nn.Module`."""
