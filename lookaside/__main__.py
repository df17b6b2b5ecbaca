"""``python -m lookaside`` is the command ``lookaside``."""

from lookaside.cli import main

if __name__ == "__main__":
    main()
