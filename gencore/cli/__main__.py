"""Entry point: errors become one clear paragraph; `--debug` (before the command) gives the traceback."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    from rich.console import Console

    from gencore.cli.app import app

    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        app(args=arguments, prog_name="gencore")
    except (ValueError, OSError, ImportError, ArithmeticError) as error:
        if debug:
            raise
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {_escape(str(error))}", highlight=False)
        sys.exit(1)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
