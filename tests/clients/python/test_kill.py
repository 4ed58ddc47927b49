"""kill -9 at random moments while every mutating call is under way: what was acknowledged holds, the rest is whole or not there."""

import collections
import json
import os
import random
import subprocess
import threading
import time
import uuid

import requests

from conftest import BINARY, Server

ROUNDS = int(os.environ.get("STRONGROOM_ROUNDS", "1"))
SECONDS = 6
CLIENTS = 6
VERSION = "api-version=7.6"
READER = "21dbd100-6940-42c2-9190-5d6cb909625b"


class Worker(threading.Thread):
    """Owns its names, and so knows what each of them must be."""

    def __init__(self, server, number, seed, stop):
        super().__init__()
        self.server, self.stop, self.random = server, stop, random.Random(seed)
        self.session = server.session()
        self.names = [f"w{number}-{i}" for i in range(3)]
        self.keys = {name: None for name in self.names}  # None, or {"deleted": bool, "versions": set, "tags": …, "policy": …}
        self.roles = {}
        self.acknowledged, self.unknown, self.problems, self.last = [], 0, [], None

    def call(self, method, path, body=None):
        """The answer, or None when it is not known what came of the call."""
        try:
            answer = self.session.request(method, f"{self.server.hsm}{path}?{VERSION}", json=body, timeout=10)
        except requests.RequestException as error:
            self.last = error
            return None
        if answer.status_code >= 500:
            self.last = answer.text
            return None
        if answer.ok and method != "GET":
            self.acknowledged.append(answer.headers["x-ms-request-id"])
        return answer

    def read(self, path):
        """An answer to a question, however long the server takes to come back."""
        limit = time.monotonic() + 15
        while time.monotonic() < limit:
            answer = self.call("GET", path)
            if answer is not None:
                return answer
            time.sleep(0.02)
        raise RuntimeError(f"no answer to {path}: {self.last}")

    def seen(self, name):
        """What the server says a name is."""
        live = self.read(f"/keys/{name}")
        if live.ok:
            versions, url = set(), f"/keys/{name}/versions"
            versions = {item["kid"].rsplit("/", 1)[1] for item in self.read(url).json()["value"]}
            policy = self.read(f"/keys/{name}/rotationpolicy").json()["attributes"].get("expiryTime")
            return {"deleted": False, "versions": versions, "tags": live.json().get("tags"), "policy": policy}
        if self.read(f"/deletedkeys/{name}").ok:
            return {"deleted": True}
        return None

    def expect(self, name, *allowed):
        """The name is one of these; it stays what it is."""
        seen = self.seen(name)
        for state in allowed:
            if state is None or seen is None or seen["deleted"] or state["deleted"]:
                if (state and state["deleted"]) == (seen and seen["deleted"]) and (state is None) == (seen is None):
                    return state
            elif {k: seen[k] for k in ("tags", "policy")} == {k: state[k] for k in ("tags", "policy")} and \
                    (seen["versions"] == state["versions"] or
                     state.get("more") and seen["versions"] > state["versions"] and len(seen["versions"]) == len(state["versions"]) + 1):
                return {**state, "versions": seen["versions"], "more": False}
        self.problems.append((name, seen, allowed))
        return seen

    def change(self, name):
        before = self.keys[name]
        tags = {"t": uuid.uuid4().hex}
        new = {"deleted": False, "versions": set(), "tags": None, "policy": None}
        if before is None:
            kind = self.random.choice(["create", "import"])
            after = {**new, "tags": tags, "more": True}
            answer = self.call("POST", f"/keys/{name}/create", {"kty": "EC", "tags": tags}) if kind == "create" else \
                self.call("PUT", f"/keys/{name}", {"key": {"kty": "oct-HSM", "k": "A" * 43}, "tags": tags})
        elif before["deleted"]:
            kind = self.random.choice(["recover", "purge"])
            after = None if kind == "purge" else {**before, "deleted": False}
            answer = self.call("DELETE", f"/deletedkeys/{name}") if kind == "purge" else \
                self.call("POST", f"/deletedkeys/{name}/recover")
        else:
            kind = self.random.choice(["create", "update", "rotate", "policy", "delete"])
            if len(before["versions"]) > 20:
                kind = "delete"
            if kind == "create":
                after = {**before, "tags": tags, "more": True}
                answer = self.call("POST", f"/keys/{name}/create", {"kty": "EC", "tags": tags})
            elif kind == "update":
                after = {**before, "tags": tags}
                answer = self.call("PATCH", f"/keys/{name}/", {"tags": tags})
            elif kind == "rotate":
                after = {**before, "more": True}
                answer = self.call("POST", f"/keys/{name}/rotate")
            elif kind == "policy":
                expiry = f"P{self.random.randrange(60, 600)}D"
                after = {**before, "policy": expiry}
                body = {"lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Rotate"}}],
                        "attributes": {"expiryTime": expiry}}
                answer = self.call("PUT", f"/keys/{name}/rotationpolicy", body)
            else:
                after = {**before, "deleted": True}
                answer = self.call("DELETE", f"/keys/{name}")
        if answer is None:
            self.unknown += 1
            self.keys[name] = self.expect(name, before, after)
        elif not answer.ok:
            self.problems.append((name, kind, answer.status_code, answer.text))
        else:
            if after and after.get("more"):
                version = answer.json()["key"]["kid"].rsplit("/", 1)[1]
                after = {**after, "versions": after["versions"] | {version}, "more": False}
            self.keys[name] = after

    def give_or_take(self):
        if self.roles and self.random.random() < 0.5:
            name = self.random.choice(list(self.roles))
            answer = self.call("DELETE", f"/keys/providers/Microsoft.Authorization/roleAssignments/{name}")
            self.roles[name] = False if answer is not None and answer.ok else None
        elif len(self.roles) < 4:
            name = str(uuid.uuid4())
            body = {"properties": {"principalId": str(uuid.uuid4()), "roleDefinitionId": READER}}
            answer = self.call("PUT", f"/keys/providers/Microsoft.Authorization/roleAssignments/{name}", body)
            self.roles[name] = True if answer is not None and answer.ok else None
        self.roles = {name: state for name, state in self.roles.items() if state}

    def run(self):
        while not self.stop.is_set():
            if self.random.random() < 0.15:
                self.give_or_take()
            else:
                self.change(self.random.choice(self.names))

    def check(self):
        for name in self.names:
            self.expect(name, self.keys[name])
        for name in self.roles:
            if not self.read(f"/keys/providers/Microsoft.Authorization/roleAssignments/{name}").ok:
                self.problems.append(("role", name))


def test_everything_acknowledged_holds_and_is_in_the_log():
    for _ in range(ROUNDS):
        seed = random.randrange(1 << 32)
        print("seed", seed)
        moments = random.Random(seed)
        server = Server().start()
        try:
            stop = threading.Event()
            workers = [Worker(server, i, moments.random(), stop) for i in range(CLIENTS)]
            [worker.start() for worker in workers]
            try:
                kill_at_random(server, moments)
            finally:
                stop.set()
            [worker.join() for worker in workers]
            server.wait_ready()
            [worker.check() for worker in workers]
            assert server.stop() == 0
            problems = [problem for worker in workers for problem in worker.problems]
            assert not problems, problems[:5]
            verify_log(server, [request for worker in workers for request in worker.acknowledged])
            print(sum(len(w.acknowledged) for w in workers), "acknowledged,", sum(w.unknown for w in workers), "unknown")
            assert sum(len(w.acknowledged) for w in workers) > 100
        finally:
            server.close()


def kill_at_random(server, moments):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        time.sleep(moments.uniform(0.2, 0.9))
        role = moments.choice(["service", "partition", "keeper"])
        if role == "keeper":
            server.kill("keeper")
            server.start()
        elif role in server.children():
            server.kill(role)


def verify_log(server, acknowledged):
    folder = server.folder / "home" / "data" / "audit"
    verified = subprocess.run([BINARY, "audit", "verify", folder], capture_output=True, text=True, timeout=60)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    lines = collections.Counter()
    for segment in folder.glob("*.jsonl"):
        for line in segment.read_text().splitlines():
            lines[json.loads(line).get("requestId")] += 1
    missing = [request for request in acknowledged if not lines[request]]
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged changes have no record"
