"""``make cluster``: a cluster on this machine, until Ctrl-C."""

import argparse
import sys
from pathlib import Path
from typing import Final

from cluster import console
from cluster.nodes import Cluster

FOLDER: Final = Path(".cluster")
FIRST_PORT: Final = 8180


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument(
        "--first-port", type=int, default=FIRST_PORT, help="of 15, when the folder is new; 0: free ones"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER / "nodes", help="for data and logs")
    parser.add_argument("--programs", type=Path, default=FOLDER / "programs", help="for what the system lacks")
    given = parser.parse_args()
    return console.run(Cluster(given.folder, first_port=given.first_port or None, programs=given.programs))


if __name__ == "__main__":
    sys.exit(main())
