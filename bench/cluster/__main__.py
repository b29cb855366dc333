"""``make cluster``: a cluster on this machine, until Ctrl-C."""

import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import Final

from cluster.nodes import Cluster
from cluster.programs import ClusterError

FOLDER: Final = Path(".cluster")
FIRST_PORT: Final = 8180


def show(text: str) -> None:
    """Say something at once, whatever the output is."""
    print(text, flush=True)


def main() -> int:
    """Run the cluster; the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = Cluster(FOLDER / "nodes", first_port=FIRST_PORT, programs=FOLDER / "programs")
    try:
        cluster.start(show)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for relay in cluster.relays:
        show(f"listening on {relay.url}")
    with contextlib.suppress(KeyboardInterrupt):
        watch(cluster)
    show("Ending ...")
    cluster.stop()
    return 0


def watch(cluster: Cluster) -> None:
    """Show who leads, whenever that changes."""
    shown = ""
    while True:
        leader = cluster.leader()
        now = f"{leader.name} leads" if leader else "nobody leads"
        if now != shown:
            show(now)
            shown = now
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
