"""What else than PyTorch can do a network's work, how exactly, and which of it is fastest on this machine."""
