"""Denoising models and their samplers, one file a paper."""

from gencore.spec import read_family

family = read_family(__name__, name="diffusion", summary="Denoising models and their samplers", extra="diffusion")
