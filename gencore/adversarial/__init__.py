"""What every system with a critic stands on: losses in pairs, penalties on the critic as a function, the objective."""
