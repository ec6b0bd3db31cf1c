"""Networks of the published systems, with the parameter names of their checkpoints."""
