"""A diffusion anchored in the wavelet domain at what exposure, white balance and tone make of the dark picture."""
