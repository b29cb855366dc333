"""Networks that ``make cluster-chaos`` cuts."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, socket, subprocess, sys
from cluster.network import Machine, Network, cut

ASK = "import socket, sys; socket.create_connection((sys.argv[1], 5000), 1.5)"  # time for one packet to be lost
ANSWER = "import socket, sys, time; s = socket.create_server((sys.argv[1], 5000)); print(flush=True); time.sleep(60)"
network = Network()
one, two, three = machines = [network.add() for _ in range(3)]
servers = [
    subprocess.Popen([*each.enter(), sys.executable, "-c", ANSWER, each.host], stdout=subprocess.PIPE)
    for each in machines
]
for server in servers:
    server.stdout.readline()

def reached():
    pairs = [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b]
    asking = [
        subprocess.Popen([*machines[a - 1].enter(), sys.executable, "-c", ASK, machines[b - 1].host],
            stderr=subprocess.DEVNULL)
        for a, b in pairs
    ]
    return [f"{a}{b}" for (a, b), ask in zip(pairs, asking) if ask.wait() == 0]

found = {"whole": reached()}
with one.unplugged():
    found["unplugged"] = reached()
with cut(one, [two]):
    found["cut"] = reached()
with one.losing(three):
    found["losing"] = reached()
found["whole again"] = reached()
found["names"] = socket.if_nameindex()
for server in servers:
    server.kill()
for each in machines:
    each.end()
print(json.dumps(found))
"""
ALL = ["12", "13", "21", "23", "31", "32"]


def can_be_made() -> bool:
    try:
        return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="networks are cut by root alone")
@pytest.mark.skipif(not shutil.which("ip") or not can_be_made(), reason="there are no network namespaces here")
def test_machines_are_cut_off_and_joined_again() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT / "bench")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["whole"] == found["whole again"] == ALL
    assert found["unplugged"] == ["23", "32"]
    assert found["cut"] == ["13", "23", "31", "32"]
    assert found["losing"] == ["12", "21", "23", "32"], "a connection needs both ways"
    assert {name for _, name in found["names"]} == {"lo", "bridge", "machine2", "machine3", "machine4"}
    assert not {"bridge", "machine2"} & {name for _, name in socket.if_nameindex()}, "nothing of it is outside"
