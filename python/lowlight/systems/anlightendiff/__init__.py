"""AnlightenDiff: network, sampler and published checkpoints."""
