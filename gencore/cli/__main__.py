"""Entry point: errors become one clear paragraph; `--debug` (before the command) gives the traceback."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    import warnings

    import typer.main
    from rich.console import Console
    from rich.text import Text

    from gencore.cli.advice import fitted
    from gencore.cli.commands import application
    from gencore.cli.show import shown, warned

    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    app = application(arguments[0] if arguments else "")
    warnings.formatwarning = warned
    try:
        app(args=arguments, prog_name="gencore")
    except (ValueError, OSError, ImportError, ArithmeticError) as error:
        if debug:
            raise
        text = fitted(str(error), arguments, typer.main.get_group(application()))
        message = Text.assemble(("Error: ", "bold red"), shown(text))
        Console(stderr=True, soft_wrap=True).print(message)
        sys.exit(1)


if __name__ == "__main__":
    main()
