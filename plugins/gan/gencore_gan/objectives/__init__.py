"""Papers that change the game: the losses of critic and generator."""
