"""Training of the DHDE network: synthetic patches of known blur, the network in PyTorch, the study of its features."""
