"""Reading what the library diffusers wrote."""
