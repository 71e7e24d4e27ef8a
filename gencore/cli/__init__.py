"""The command line: `gencore ...`, or `python -m gencore.cli ...`."""
