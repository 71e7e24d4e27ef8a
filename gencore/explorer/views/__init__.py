"""The views, each made of what a model can do."""
