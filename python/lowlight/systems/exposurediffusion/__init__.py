"""ExposureDiffusion: networks, chain of exposures and published checkpoints."""
