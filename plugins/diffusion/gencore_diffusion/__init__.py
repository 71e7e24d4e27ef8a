"""Score and diffusion models, one file a paper."""
