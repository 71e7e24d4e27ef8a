"""Score and denoising models, one file a paper, and the samplers that run any of them."""
