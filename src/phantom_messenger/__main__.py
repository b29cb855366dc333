"""``phantom``, and ``python -m phantom_messenger``."""

import sys


def main() -> None:
    """Run the command line. Ctrl-C while it is still being loaded ends it in one line too."""
    try:
        from phantom_messenger.cli.main import main as run  # noqa: PLC0415 - loading it can be interrupted
    except KeyboardInterrupt:
        sys.stderr.write("\nphantom: interrupted\n")
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
