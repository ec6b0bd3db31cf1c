"""A plain DDPM, which the study of diffusion on dim pictures trains."""
