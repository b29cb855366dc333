"""Which etcd leads the others, and to have another one lead."""

import json
import urllib.request
from collections.abc import Sequence
from typing import Any

from cluster.nodes import Node
from cluster.programs import ClusterError

SECONDS = 5


def hand_over(nodes: Sequence[Node], to: Node) -> None:
    """Have the etcd of a node lead.

    Raises:
        ClusterError: it does not.
    """
    wanted = _status(to)
    number = wanted["header"]["member_id"]
    if wanted["leader"] == number:
        return
    for node in nodes:
        status = _status(node)
        if status["header"]["member_id"] == status["leader"]:
            _ask(node, "transfer-leadership", {"targetID": number})
    if _status(to)["leader"] != number:
        raise ClusterError(f"the etcd of {to.name} does not lead")


def _status(node: Node) -> dict[str, Any]:
    return _ask(node, "status", {})


def _ask(node: Node, what: str, of: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://{node.host}:{node.place.etcd}/v3/maintenance/{what}", data=json.dumps(of).encode()
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - a fixed scheme
        found: dict[str, Any] = json.load(answer)
        return found
