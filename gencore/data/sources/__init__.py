"""The sources: one module for each place that data come from."""
