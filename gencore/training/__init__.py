"""Training: one trainer for every recipe, exact checkpoints, weight averages, run directories."""
