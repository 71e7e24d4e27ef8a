"""What a run directory tells: its curves (`curves`), and whether the training works (`report`)."""
