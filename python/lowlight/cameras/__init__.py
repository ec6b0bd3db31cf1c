"""Noise calibrations of cameras: the published ones, one's own, and what they say of a photograph."""
