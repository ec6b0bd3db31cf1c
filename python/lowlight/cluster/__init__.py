"""Many machines: where files lie, what was done with each, and who works on what is left."""
