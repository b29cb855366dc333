"""What Patroni and the servers are told, and why."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SCOPE: Final = "phantom"

TIMES: Final = {"ttl": 20, "loop_wait": 3, "retry_timeout": 8, "primary_start_timeout": 5}
"""Seconds. A primary that is gone loses its lease after ``ttl``, of which Patroni allows no less: a node fails over
within 30. One to which etcd does not answer for ``retry_timeout`` steps down: longer than etcd takes to elect a leader.
A postmaster that died is started again, and passed by if that takes more than five: within 15."""

PARAMETERS: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    # What was deleted must leave the log too: files of it are not kept for use again, and few are kept for standbys.
    "wal_recycle": "off",
    "wal_keep_size": "16MB",
    "checkpoint_timeout": "60s",
    "max_slot_wal_keep_size": "1GB",
    "wal_sender_timeout": "10s",
    "max_connections": 60,
    "shared_buffers": "64MB",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a node listens."""

    name: str
    host: str
    postgres: int
    patroni: int
    etcd: int
    etcd_peers: int


@dataclass(frozen=True, kw_only=True)
class Replication:
    """For which standbys a commit waits.

    Attributes:
        modes: what Patroni is told.
        parameters: what the servers are told, where that is not Patroni's to choose.
        role: that Patroni says those standbys have.
        awaited: how many have it.
        starts_anew: whether a node whose log has parted from the leader's, and cannot be led back, loses all it has.
    """

    modes: dict[str, Any]
    parameters: dict[str, Any]
    role: str
    awaited: int
    starts_anew: bool = False


QUORUM: Final = Replication(
    modes={"synchronous_mode": "quorum", "synchronous_mode_strict": True},
    parameters={},
    role="quorum_standby",
    awaited=2,
)
CHOSEN_STANDBY: Final = Replication(
    modes={"synchronous_mode": True, "synchronous_mode_strict": True},
    parameters={},
    role="sync_standby",
    awaited=1,
    starts_anew=True,
)
"""All that Patroni knew before 4.0."""

NO_STANDBY: Final = Replication(
    modes={}, parameters={"synchronous_standby_names": ""}, role="none is awaited", awaited=0
)


def patroni(place: Place, folder: Path, *, all_of: list[Place], password: str, replication: Replication) -> str:
    """The settings of one node's Patroni: JSON, which is YAML."""
    everyone = ",".join(f"{other.host}:{other.etcd}" for other in all_of)
    settings = {
        "scope": SCOPE,
        "name": place.name,
        "restapi": {
            "listen": f"{place.host}:{place.patroni}",
            "connect_address": f"{place.host}:{place.patroni}",
            "authentication": {"username": "patroni", "password": password},
        },
        "etcd3": {"hosts": everyone},
        "bootstrap": {"dcs": _shared(replication), "initdb": [{"encoding": "UTF8"}, {"locale": "C"}]},
        "postgresql": {
            "listen": f"{place.host}:{place.postgres}",
            "connect_address": f"{place.host}:{place.postgres}",
            "data_dir": str(folder / "data"),
            "pgpass": str(folder / "pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": password},
                "replication": {"username": "replicator", "password": password},
                "rewind": {"username": "rewinder", "password": password},
            },
            "pg_hba": [
                f"host replication replicator {_network(place)} scram-sha-256",
                f"host all all {_network(place)} scram-sha-256",
            ],
        },
    }
    return json.dumps(settings, indent=1)


def _shared(replication: Replication) -> dict[str, Any]:
    """What all nodes agree on.

    ``failsafe_mode`` stays off: it lets a primary go on without etcd while it reaches every
    other node, and where etcd runs on the same hosts, two of three that are gone take the nodes with them.
    """
    parameters = {**PARAMETERS, **replication.parameters}
    servers: dict[str, Any] = {"use_pg_rewind": True, "use_slots": True, "parameters": parameters}
    if replication.starts_anew:
        servers["remove_data_directory_on_rewind_failure"] = True
    return {**TIMES, **replication.modes, "postgresql": servers}


def _network(place: Place) -> str:
    return f"{place.host.rpartition('.')[0]}.0/24"


def etcd(place: Place, folder: Path, *, all_of: list[Place]) -> list[str]:
    """The arguments of one node's etcd.

    With ``--pre-vote`` one that comes back does not make the others elect a leader again: until they have, Patroni's
    primary cannot keep its lease, and steps down. Before 3.5 that has to be asked for.
    """
    clients = f"http://{place.host}:{place.etcd}"
    peers = f"http://{place.host}:{place.etcd_peers}"
    members = ",".join(f"{other.name}=http://{other.host}:{other.etcd_peers}" for other in all_of)
    return [
        *("--name", place.name, "--data-dir", str(folder / "etcd")),
        *("--listen-client-urls", clients, "--advertise-client-urls", clients),
        *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
        *("--initial-cluster", members, "--initial-cluster-token", SCOPE),
        *("--heartbeat-interval", "200", "--election-timeout", "2000", "--auto-compaction-retention", "1"),
        "--pre-vote",
    ]
