"""``phantom``, but for passphrases that are stretched as little as Argon2 allows."""

import sys

from phantom_messenger.cli.main import main
from support.passphrases import LEAST, stretch

stretch(LEAST)
sys.argv[0] = "phantom"
main()
