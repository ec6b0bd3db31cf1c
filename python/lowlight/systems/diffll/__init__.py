"""DiffLL: network, sampler and published checkpoints."""
