"""Two nodes on one etcd cluster, as in production: what one changes the other takes in, and who loses touch refuses."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import uuid

import pytest
import urllib3

import cluster
from conftest import BINARY, children, count, free_port

REQUIRED = os.environ.get("STRONGROOM_ETCD_REQUIRED")
TENANT = "11111111-1111-1111-1111-111111111111"
HSM = "payments.managedhsm.localhost"
CRYPTO_USER = "21dbd100-6940-42c2-9190-5d6cb909625b"
CRYPTO_OFFICER = "515eb02d-2335-4d2d-92f2-b1cbdf9c3778"
DIGEST = "5wi_PIMHMG7Ow1Lqk9BGUWTeuHhFjWI2TzsCyDcIpNA"
# Long enough for any machine.
PATIENCE = 60


def eventually(check):
    """Waits until `check` gives something; what never comes fails the test."""
    deadline = time.monotonic() + PATIENCE
    while True:
        if found := check():
            return found
        assert time.monotonic() < deadline, "it never comes"
        time.sleep(0.05)


class Node:
    """One `strongroom serve` on a loopback address of its own; all nodes have the same port, names, seal and directory."""

    def __init__(self, folder, address, port, admin, store):
        self.folder, self.address, self.port, self.process = folder / address, address, port, None
        self.log = self.folder / "log"
        (self.folder / "data").mkdir(parents=True, mode=0o700)
        (self.folder / "public").mkdir()
        settings = (
            f'domain = "localhost"\nport = {port}\nlisten = ["{address}"]\ndata = "data"\nseal = "../sealed/seal"\nruntimes = 1\n'
            f'allow_unlocked_memory = true\n[tls]\nca_file = "public/ca.pem"\n[audit]\nreserve_mib = 1\n[identity]\n'
            f'tenant_id = "{TENANT}"\ndirectory = "../identity/directory.toml"\n[[pool]]\nname = "payments"\n'
            f'administrators = ["{admin}"]\n[store]\n{store}'
        )
        (self.folder / "strongroom.toml").write_text(settings)

    def launch(self):
        with open(self.log, "ab") as log:
            command = [BINARY, "serve", "--config", self.folder / "strongroom.toml"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        return self

    def start(self):
        self.launch()
        eventually(self.is_ready)
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return self.ask("GET", "/readyz", status=None).status == 200

    def service(self):
        return children(self.process.pid)["service"][0]

    def ask(self, method, path, token=None, body=None, host=HSM, status=200, form=None):
        """One request to this node; without a `status` whatever it answers, and 0 when nothing came."""
        ca = self.folder / "public" / "ca.pem"
        pool = urllib3.HTTPSConnectionPool(
            self.address, self.port, server_hostname=host, assert_hostname=host, ca_certs=str(ca), retries=False, timeout=20)
        headers = {"Host": f"{host}:{self.port}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        options = {"fields": form, "encode_multipart": False} if form else {"body": json.dumps(body) if body else None}
        if body is not None:
            headers["Content-Type"] = "application/json"
        separator = "&" if "?" in path else "?"
        url = path if host != HSM or path.endswith("z") else f"{path}{separator}api-version=7.6"
        with pool:
            try:
                answer = pool.request(method, url, headers=headers, **options)
            except (urllib3.exceptions.HTTPError, OSError):
                if status is None:
                    return urllib3.HTTPResponse(status=0)
                raise
        assert status is None or answer.status == status, (answer.status, answer.data)
        return answer

    def token(self, who):
        form = {"grant_type": "client_credentials", "client_id": who["client_id"], "client_secret": who["secret"],
                "scope": f"https://managedhsm.localhost:{self.port}/.default"}
        path = f"/{TENANT}/oauth2/v2.0/token"
        return json.loads(self.ask("POST", path, host="login.localhost", form=form).data)["access_token"]

    def sign(self, token, key="k", status=200):
        return self.ask("POST", f"/keys/{key}/sign", token, {"alg": "ES256", "value": DIGEST}, status=status)

    def create(self, token, key, status=200):
        return self.ask("POST", f"/keys/{key}/create", token, {"kty": "EC-HSM", "crv": "P-256"}, status=status)

    def assign(self, token, principal, role, status=201):
        name = str(uuid.uuid4())
        definition = f"/providers/Microsoft.Authorization/roleDefinitions/{role}"
        body = {"properties": {"principalId": principal, "roleDefinitionId": definition}}
        self.ask("PUT", f"/providers/Microsoft.Authorization/roleAssignments/{name}", token, body, status=status)
        return name

    def unassign(self, token, name):
        self.ask("DELETE", f"/providers/Microsoft.Authorization/roleAssignments/{name}", token)

    def stop(self):
        if self.process and self.process.poll() is None:
            for pids in children(self.process.pid).values():
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) == 0, self.log.read_text()[-4000:]


@pytest.fixture
def etcd():
    if not cluster.available():
        assert not REQUIRED, "STRONGROOM_ETCD_REQUIRED is set and there is no etcd"
        pytest.skip("SEVERAL NODES NOT TESTED: there is no etcd in the PATH")
    running = cluster.Cluster()
    yield running
    running.close()


@pytest.fixture
def nodes(etcd, tmp_path):
    """Two nodes, and a principal with every role."""
    for name in ("sealed", "identity"):
        (tmp_path / name).mkdir(mode=0o700)
    subprocess.run([BINARY, "seal", "create", tmp_path / "sealed" / "seal"], check=True, capture_output=True)
    admin, user = (principal(tmp_path, name) for name in ("admin", "user"))
    port = free_port()
    pair = [Node(tmp_path, f"127.0.0.{n}", port, admin["object_id"], etcd.settings("nodes/")) for n in (1, 2)]
    # Together: one makes the store, the other one finds it.
    for node in pair:
        node.launch()
    deadline = time.monotonic() + PATIENCE
    while not all(node.is_ready() for node in pair):
        if any("built without etcd" in node.log.read_text() for node in pair):
            assert not REQUIRED, "STRONGROOM_ETCD_REQUIRED is set and the binary has no etcd"
            pytest.skip("SEVERAL NODES NOT TESTED: the binary was built without etcd")
        assert time.monotonic() < deadline, pair[0].log.read_text()[-3000:] + pair[1].log.read_text()[-3000:]
        time.sleep(0.05)
    admin["token"], user["token"] = (pair[0].token(who) for who in (admin, user))
    for role in (CRYPTO_USER, CRYPTO_OFFICER):
        pair[0].assign(admin["token"], admin["object_id"], role)
    yield pair, admin, user
    for node in pair:
        if node.process.poll() is None:
            node.process.send_signal(signal.SIGCONT)
            node.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.process.wait(40)
            node.process.kill()


def principal(folder, name):
    done = subprocess.run([BINARY, "principal", "--directory", folder / "identity" / "directory.toml", "add", name],
                          check=True, capture_output=True, text=True)
    found = dict(re.findall(r"(?m)^(client id|object id|client secret) +(\S+)$", done.stdout))
    return {"client_id": found["client id"], "object_id": found["object id"], "secret": found["client secret"]}


def lines_of(node):
    for segment in sorted((node.folder / "data" / "audit").glob("*.jsonl")):
        for line in segment.read_bytes().rstrip(b"\0").splitlines():
            yield json.loads(line)


def test_keys_and_roles_of_one_node_are_those_of_the_other(nodes):
    (one, two), admin, user = nodes
    one.create(admin["token"], "k")
    # The token of one is good at the other: they have one issuer.
    eventually(lambda: two.sign(admin["token"], status=None).status == 200)
    for _ in range(3):
        assignment = one.assign(admin["token"], user["object_id"], CRYPTO_USER)
        eventually(lambda: two.sign(user["token"], status=None).status == 200)
        one.unassign(admin["token"], assignment)
        eventually(lambda: two.sign(user["token"], status=None).status == 403)
        assert one.sign(user["token"], status=None).status == 403
    # A change of the key, too.
    one.ask("PATCH", "/keys/k", admin["token"], {"attributes": {"enabled": False}})
    eventually(lambda: two.sign(admin["token"], status=None).status == 403)
    for node in (one, two):
        node.stop()
        done = subprocess.run([BINARY, "audit", "verify", node.folder / "data" / "audit"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    count("etcd: roles taken on one node and refused on the other", 3)


def test_a_node_that_stood_still_does_not_serve_what_it_knew(nodes):
    (one, two), admin, user = nodes
    one.create(admin["token"], "k")
    assignment = one.assign(admin["token"], user["object_id"], CRYPTO_USER)
    eventually(lambda: two.sign(user["token"], status=None).status == 200)
    service = two.service()
    os.kill(service, signal.SIGSTOP)
    one.unassign(admin["token"], assignment)
    # Longer than a proof holds.
    time.sleep(3)
    os.kill(service, signal.SIGCONT)
    for _ in range(50):
        assert two.sign(user["token"], status=None).status in (403, 503)
    eventually(lambda: two.sign(user["token"], status=None).status == 403)
    eventually(two.is_ready)


def test_members_may_die_and_without_a_quorum_nodes_refuse(nodes, etcd):
    (one, two), admin, _ = nodes
    made = []

    def create(node):
        name = f"n{len(made)}-{uuid.uuid4().hex[:8]}"
        if node.create(admin["token"], name, status=None).status == 200:
            made.append(name)
            return True

    create(one)
    for member in (0, 1, 2):
        etcd.kill(member)
        eventually(lambda: create(one))
        eventually(lambda: create(two))
        etcd.run(member)
        etcd.leader()
    leader = etcd.leader()
    others = [member for member in (0, 1, 2) if member != leader]
    for member in others:
        etcd.pause(member)
    for node in (one, two):
        eventually(lambda: node.sign(admin["token"], made[0], status=None).status == 503)
        answer = node.ask("GET", "/readyz", status=None)
        assert answer.status == 503 and "cannot prove" in answer.data.decode(), answer.data
    for member in others:
        etcd.resume(member)
    for node in (one, two):
        eventually(node.is_ready)
        for name in made:
            assert eventually(lambda: node.sign(admin["token"], name, status=None).status == 200)
    # Each creation is in one log, once.
    for node in (one, two):
        node.stop()
    lines = [line for node in (one, two) for line in lines_of(node)]
    for name in made:
        about = [line for line in lines if line.get("operationName") == "KeyCreate" and name in json.dumps(line)
                 and line.get("properties", {}).get("httpStatusCode", line.get("httpStatusCode")) in (200, "200")]
        assert len(about) == 1, (name, about)
    count("etcd: keys made while members died", len(made))
