"""Papers that steady the training."""
