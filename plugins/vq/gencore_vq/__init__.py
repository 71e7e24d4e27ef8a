"""Vector-quantised autoencoders, one file a paper."""
