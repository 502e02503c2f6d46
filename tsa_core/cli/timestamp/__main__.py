"""Run timestamp-cli with `python -m tsa_core.cli.timestamp`."""

from tsa_core.cli.timestamp.program import main

if __name__ == "__main__":
    main()
