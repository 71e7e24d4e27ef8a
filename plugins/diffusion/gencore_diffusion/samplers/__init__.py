"""How a trained denoiser is run: levels, steps, guidance."""
