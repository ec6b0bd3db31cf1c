"""Noise schedules and samplers, as rows of diffusion_step."""
