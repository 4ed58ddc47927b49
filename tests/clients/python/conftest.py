"""Starts the real binary and gives the tests a running managed HSM, as a user would have it."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import cluster
import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("STRONGROOM_BINARY", ROOT / "target" / "release" / "strongroom"))

OF_THE_TESTS = (
    "STRONGROOM_AZ",
    "STRONGROOM_BINARY",
    "STRONGROOM_COUNTS",
    "STRONGROOM_ETCD_REQUIRED",
    "STRONGROOM_JS",
    "STRONGROOM_ROUNDS",
    "STRONGROOM_SCALE",
    "STRONGROOM_SHARED",
    "STRONGROOM_TEST_STORE",
)

# With STRONGROOM_TEST_STORE=etcd every server of these tests keeps its keys in one etcd cluster, each under its own prefix.
ON_ETCD = os.environ.get("STRONGROOM_TEST_STORE") == "etcd"
_clusters = []


def etcd_cluster():
    """The cluster of this run."""
    if not _clusters:
        _clusters.append(cluster.Cluster())
    return _clusters[0]


def pytest_sessionfinish():
    for running in _clusters:
        running.close()


def count(kind, number):
    """Says how many cases of a kind were tried: a line of the table at the end of ./test (CONTRIBUTING.md)."""
    if file := os.environ.get("STRONGROOM_COUNTS"):
        with open(file, "a") as counts:
            counts.write(f"count {int(number)} {kind}\n")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(pid):
    """The processes started by `pid`, by role (`service`, `partition`)."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if parent == pid and len(words) > 1:
                found.setdefault(words[1].decode(), []).append(int(entry.name))
    return found


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Server:
    """One `strongroom dev` with its folder; it can be stopped, killed and started again."""

    def __init__(self, *arguments):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="strongroom-test-"))
        self.port = free_port()
        self.arguments = list(arguments)
        self.env = {}
        self.process = None
        self.log = self.folder / "log"
        if ON_ETCD:
            (self.folder / "store.toml").write_text(etcd_cluster().settings())
            self.arguments += ["--store", self.folder / "store.toml"]

    def start(self, *more):
        env_file = self.folder / "env"
        env_file.unlink(missing_ok=True)
        command = [BINARY, "dev", "--data", self.folder / "home", "--port", str(self.port), "--env-file", env_file]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments, *more], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while not env_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("strongroom dev did not start:\n" + self.log.read_text()[-4000:])
            time.sleep(0.01)
        self.env = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
        self.wait_ready()
        return self

    def wait_ready(self, seconds=30):
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(requests.RequestException):
                if self.get("/readyz").status_code == 200:
                    return
            if time.monotonic() > deadline:
                raise RuntimeError("not ready:\n" + self.log.read_text()[-4000:])
            time.sleep(0.02)

    def get(self, path, **options):
        return requests.get(self.hsm + path, verify=self.env["STRONGROOM_CA"], timeout=10, **options)

    @property
    def hsm(self):
        return self.env["STRONGROOM_HSM_URL"].rstrip("/")

    def children(self):
        return children(self.process.pid)

    def kill(self, role):
        """kill -9 of the keeper, or of every child of a role."""
        if role == "keeper":
            offspring = [pid for pids in self.children().values() for pid in pids]
            self.process.kill()
            self.process.wait(30)
            limit = time.monotonic() + 5
            while any(alive(pid) for pid in offspring):
                assert time.monotonic() < limit, "a child outlived its keeper"
                time.sleep(0.01)
            return
        for pid in self.children()[role]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                return self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        return self.process.returncode

    def token(self, audience="managedhsm", client=None, secret=None):
        domain = self.env["AZURE_AUTHORITY_HOST"].split("login.", 1)[1]
        form = {
            "grant_type": "client_credentials",
            "client_id": client or self.env["AZURE_CLIENT_ID"],
            "client_secret": secret or self.env["AZURE_CLIENT_SECRET"],
            "scope": f"https://{audience}.{domain}/.default",
        }
        url = f"{self.env['AZURE_AUTHORITY_HOST']}/{self.env['STRONGROOM_TENANT_ID']}/oauth2/v2.0/token"
        answer = requests.post(url, data=form, verify=self.env["STRONGROOM_CA"], timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def session(self, token=None):
        """A session with a valid token; paths are given below the HSM's URL."""
        session = requests.Session()
        session.trust_env = False  # or the machine's REQUESTS_CA_BUNDLE would count more than `verify`
        session.verify = self.env["STRONGROOM_CA"]
        session.headers["Authorization"] = "Bearer " + (token or self.token())
        return session

    def close(self):
        with contextlib.suppress(Exception):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def use_environment(env):
    """What a user's shell would have exported."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "STRONGROOM_")) and name not in OF_THE_TESTS:
            del os.environ[name]
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    os.environ.update(env)


@pytest.fixture(scope="session")
def server():
    running = Server("--principal", "reader", "--hsm", "demo", "--hsm", "sleepy,inactive").start()
    use_environment(running.env)
    yield running
    assert running.stop() == 0, running.log.read_text()[-4000:]
    running.close()


@pytest.fixture
def own_server():
    """A server of the test's own, to be killed and restarted."""
    running = Server().start()
    previous = dict(os.environ)
    use_environment(running.env)
    yield running
    os.environ.clear()
    os.environ.update(previous)
    running.close()
