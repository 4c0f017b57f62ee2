"""python -m manifestd."""

from manifestd.cli.main import main

if __name__ == "__main__":
    main()
