"""A full disk: what reads goes on, what changes is refused cleanly, and room heals everything without a restart."""

import base64
import contextlib
import hashlib
import os
import subprocess
import time

import pytest

from conftest import ON_ETCD, Server

pytestmark = pytest.mark.skipif(ON_ETCD, reason="the embedded store's disk is filled up")

VERSION = {"api-version": "7.6"}
DIGEST = base64.urlsafe_b64encode(hashlib.sha256(b"message").digest()).rstrip(b"=").decode()
DISK_BYTES = 96 << 20
SECONDS = 8


@pytest.fixture
def small():
    """A server whose home is a small disk of its own."""
    server = Server("--runtimes", "1")
    home = server.folder / "home"
    home.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", home], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        server.close()
        pytest.skip(f"FULL DISK NOT TESTED: no tmpfs can be mounted here ({mounted.stderr.strip()})")
    try:
        yield server.start()
    finally:
        with contextlib.suppress(Exception):
            server.stop()
        subprocess.run(["umount", "--lazy", home], check=False)
        server.close()


def fill(home):
    """Takes all the room there is, though the server takes some at the same time."""
    with open(home / "filling", "ab") as file:
        while room := os.statvfs(home).f_bavail:
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, room * os.statvfs(home).f_frsize)


def status(server):
    answer = server.get("/readyz")
    return answer.status_code, answer.json()["status"]


def wait_for(server, expected, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while status(server) != expected:
        assert time.monotonic() < deadline, (server.get("/readyz").text, server.log.read_text()[-2000:])
        time.sleep(0.1)


class Work:
    def __init__(self, server):
        self.server, self.session, self.made = server, server.session(), 0
        answer = self.create()
        assert answer.status_code == 200, answer.text
        self.kid = answer.json()["key"]["kid"]

    def create(self):
        self.made += 1
        return self.session.post(f"{self.server.hsm}/keys/k{self.made}/create", params=VERSION, json={"kty": "EC-HSM"}, timeout=20)

    def sign(self):
        return self.session.post(self.kid + "/sign", params=VERSION, json={"alg": "ES256", "value": DIGEST}, timeout=20)

    def changes(self):
        """Every kind of change, on what is there."""
        hsm, role = self.server.hsm, "providers/Microsoft.Authorization/roleDefinitions/6c0d5a86-8a52-4a6b-8b0e-1d7c1de4a111"
        yield self.create()
        for method, path, body in [
            ("PATCH", "keys/k1", {"tags": {"a": "b"}}),
            ("POST", "keys/k1/rotate", None),
            ("PUT", "keys/k1/rotationpolicy", {"lifetimeActions": [], "attributes": {"expiryTime": "P90D"}}),
            ("PUT", role, {"properties": {"roleName": "r", "permissions": []}}),
            ("DELETE", "keys/k1", None),
        ]:
            yield self.session.request(method, f"{hsm}/{path}", params=VERSION, json=body, timeout=20)


def test_a_full_disk_refuses_changes_and_heals_with_room(small):
    home, work = small.folder / "home", Work(small)
    for _ in range(2):
        fill(home)
        wait_for(small, (200, "degraded"))
        for refused in work.changes():
            assert refused.status_code == 503, (refused.request.path_url, refused.text)
            assert refused.json()["error"]["code"] == "ServiceUnavailable"
        assert work.sign().status_code == 200
        assert work.session.get(work.kid, params=VERSION).status_code == 200
        assert small.get("/healthz").status_code == 200
        (home / "filling").unlink()
        wait_for(small, (200, "ready"))
        assert work.create().status_code == 200
    assert work.session.get(f"{small.hsm}/keys", params=VERSION).status_code == 200
    fill(home)
    assert small.stop() == 0
    (home / "filling").unlink()
    small.start()
    assert work.sign().status_code == 200
    assert "panicked" not in small.log.read_text()


def test_a_used_up_reserve_refuses_everything_and_heals_with_room(small):
    home, work = small.folder / "home", Work(small)
    fill(home)
    wait_for(small, (200, "degraded"))
    # Nobody wants to send sixteen megabytes of requests: the log's own room is taken from behind its end.
    log = next((home / "data" / "audit").glob("*.jsonl"))
    os.truncate(log, log.stat().st_size)
    fill(home)
    deadline = time.monotonic() + SECONDS
    while work.sign().status_code == 200:
        assert time.monotonic() < deadline, "the reserve never ends"
    for refused in [work.sign(), work.session.get(work.kid, params=VERSION), *work.changes()]:
        assert refused.status_code == 503, refused.text
    assert status(small) == (503, "not ready")
    assert small.get("/healthz").status_code == 200
    (home / "filling").unlink()
    wait_for(small, (200, "ready"))
    assert work.sign().status_code == 200 and work.create().status_code == 200
    assert "panicked" not in small.log.read_text()
