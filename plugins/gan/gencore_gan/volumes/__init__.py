"""Volumes of voxels."""
