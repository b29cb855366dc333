"""``make cluster``: a cluster on this machine, until Ctrl-C."""

import contextlib
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from cluster.nodes import Cluster
from cluster.programs import ClusterError

FOLDER: Final = Path(".cluster")
FIRST_PORT: Final = 8180


def show(text: str) -> None:
    """Say something at once, whatever the output is."""
    print(text, flush=True)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End, once: a second Ctrl-C must not leave half of it running."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Run the cluster; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    cluster = Cluster(FOLDER / "nodes", first_port=FIRST_PORT, programs=FOLDER / "programs")
    try:
        cluster.start(show)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    with contextlib.suppress(KeyboardInterrupt):
        for relay in cluster.relays:
            show(f"listening on {relay.url}")
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
