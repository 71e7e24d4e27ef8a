"""python -m gencore: the command line."""

from gencore.cli.__main__ import main

if __name__ == "__main__":
    main()
