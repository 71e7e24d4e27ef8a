"""The whole command line in one object."""

from gencore.cli.commands import application

app = application()
