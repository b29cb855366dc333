"""``python -m phantom_messenger`` is ``phantom``."""

from phantom_messenger.cli.main import main

if __name__ == "__main__":
    main()
