"""File systems of a test's own, gone with it."""

import os
import shutil
import subprocess
from collections.abc import Sequence

import pytest


def own_mounts() -> Sequence[str]:
    """The command that runs another one where it may mount."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare: apt install util-linux")
    user = ["unshare", "--user", "--map-root-user", "--mount"]
    command = ["unshare", "--mount"] if os.geteuid() == 0 else user
    for tried in (command, user):
        mounting = [*tried, "mount", "-t", "tmpfs", "phantom-test", "/mnt"]
        if subprocess.run(mounting, capture_output=True, timeout=20, check=False).returncode == 0:
            return tried
    pytest.skip("needs a mount of its own: run as root, or allow unprivileged user namespaces")
