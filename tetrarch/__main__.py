"""`python -m tetrarch`: the command line."""

from tetrarch.cli import main

if __name__ == "__main__":
    main()
