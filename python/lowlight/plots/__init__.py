"""Drawings of what other commands and the benches wrote to files."""
