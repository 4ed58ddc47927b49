"""kill -9 at random moments while eight clients change everything there is: what was acknowledged holds, nothing is half made."""

import base64
import collections
import json
import os
import random
import subprocess
import threading
import time
import uuid

import requests
from cryptography.hazmat.primitives.asymmetric import ec

from conftest import BINARY, count

ROUNDS = int(os.environ.get("STRONGROOM_ROUNDS", "1"))
CLIENTS = 8
VERSION = {"api-version": "7.6"}
CRYPTO_USER = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/21dbd100-6940-42c2-9190-5d6cb909625b"
POLICY = {
    "lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Rotate"}}],
    "attributes": {"expiryTime": "P90D"},
}
# What a request may meet while a process dies or starts.
UNAVAILABLE = 503


class Open(Exception):
    """No answer, or one that leaves the outcome open."""


def b64(number):
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def imported():
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    public = numbers.public_numbers
    key = {"kty": "EC-HSM", "crv": "P-256", "x": b64(public.x), "y": b64(public.y), "d": b64(numbers.private_value)}
    return {"key": {**key, "key_ops": ["sign", "verify"]}, "hsm": True}


LEFT_BEHIND_MAX = 5


class Client(threading.Thread):
    """Changes objects of its own, one request after the other; leaves an object when an outcome is open."""

    def __init__(self, server, number, seed, stop):
        super().__init__()
        self.hsm, self.session, self.stop = server.hsm, server.session(), stop
        self.number, self.random = number, random.Random(seed)
        self.principal = server.env["STRONGROOM_OBJECT_ID"]
        # Request ids of acknowledged changes, by operation; objects by name; names whose last outcome is open.
        self.acknowledged, self.objects, self.open, self.failures = [], {}, set(), []

    def ask(self, operation, method, path, body=None):
        try:
            answer = self.session.request(method, self.hsm + path, params=VERSION, json=body, timeout=20)
        except requests.RequestException as error:
            raise Open(str(error)) from error
        if answer.status_code == UNAVAILABLE:
            raise Open(answer.text)
        assert answer.status_code < 300, f"{operation} {path}: {answer.status_code} {answer.text}"
        self.acknowledged.append((operation, answer.headers["x-ms-request-id"]))
        return answer.json() if answer.content else {}

    def run(self):
        while not self.stop.is_set():
            kind = self.random.choice(["key", "key", "key", "assignment", "definition"])
            if kind != "key" and self.left_behind(kind) >= LEFT_BEHIND_MAX:
                kind = "key"  # An HSM has room for 50 assignments and 50 definitions.
            name = f"c{self.number}-{len(self.objects)}" if kind == "key" else str(uuid.UUID(int=self.random.getrandbits(128)))
            self.objects[name] = known = {"kind": kind, "state": "none", "next": "live", "versions": {}}
            try:
                getattr(self, kind)(name, known)
            except Open:
                self.open.add(name)
                time.sleep(0.02)
            except Exception as error:  # noqa: BLE001
                self.failures.append(error)
                self.open.add(name)

    def left_behind(self, kind):
        """Objects of a kind that lie in the HSM, or may."""
        return sum(o["kind"] == kind and (o["state"] == "live" or name in self.open) for name, o in self.objects.items())

    def key(self, name, known):
        if self.random.random() < 0.5:
            made = self.ask("KeyCreate", "POST", f"/keys/{name}/create", {"kty": "EC-HSM", "crv": "P-256"})
        else:
            made = self.ask("KeyImport", "PUT", f"/keys/{name}", imported())
        versions = {made["key"]["kid"]: made}
        known.update(state="live", versions=versions, policy=False)
        for _ in range(self.random.randrange(10)):
            if self.stop.is_set():
                return
            newest = list(versions)[-1]
            step = self.random.choice(["update", "rotate", "policy", "delete"])
            known["next"] = known["state"]
            if known["state"] == "deleted":
                known["next"] = self.random.choice(["none", "live"])
                if known["next"] == "none":
                    self.ask("KeyPurge", "DELETE", f"/deletedkeys/{name}")
                    known["state"] = "none"
                    return
                self.ask("KeyRecover", "POST", f"/deletedkeys/{name}/recover")
                known["state"] = "live"
            elif step == "update":
                tags = {"n": str(self.random.random())}
                versions[newest] = self.ask("KeyUpdate", "PATCH", newest.removeprefix(self.hsm), {"tags": tags})
                assert versions[newest]["tags"] == tags
            elif step == "rotate":
                made = self.ask("KeyRotate", "POST", f"/keys/{name}/rotate")
                versions[made["key"]["kid"]] = made
            elif step == "policy":
                self.ask("KeyRotationPolicySet", "PUT", f"/keys/{name}/rotationpolicy", POLICY)
                known["policy"] = True
            else:
                known["next"] = "deleted"
                self.ask("KeyDelete", "DELETE", f"/keys/{name}")
                known["state"] = "deleted"

    def assignment(self, name, known):
        path = f"/providers/Microsoft.Authorization/roleAssignments/{name}"
        # Of a principal of its own: two assignments of one role to one principal at one scope are one.
        body = {"properties": {"roleDefinitionId": CRYPTO_USER, "principalId": name, "principalType": "ServicePrincipal"}}
        self.ask("RoleAssignmentCreate", "PUT", path, body)
        known["state"] = "live"
        if self.random.random() < 0.8:
            self.ask("RoleAssignmentDelete", "DELETE", path)
            known["state"] = "gone"

    def definition(self, name, known):
        path = f"/providers/Microsoft.Authorization/roleDefinitions/{name}"
        for text in "first", "second":
            actions = ["Microsoft.KeyVault/managedHsm/keys/read/action"]
            properties = {"roleName": name, "description": text, "permissions": [{"dataActions": actions}]}
            self.ask("RoleDefinitionSet", "PUT", path, {"properties": properties})
            known.update(state="live", description=text)
        if self.random.random() < 0.9:
            self.ask("RoleDefinitionDelete", "DELETE", path)
            known["state"] = "gone"


class Checker:
    """Reads everything back."""

    def __init__(self, server):
        self.session, self.hsm = server.session(), server.hsm

    def get(self, path):
        answer = self.session.get(self.hsm + path, params=VERSION, timeout=20)
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    def listed(self, path):
        found, url = [], self.hsm + path
        while url:
            answer = self.session.get(url, params=VERSION if url == self.hsm + path else None, timeout=20)
            assert answer.status_code == 200, answer.text
            found += answer.json()["value"]
            url = answer.json().get("nextLink")
        return found

    def known(self, name, known):
        if known["kind"] == "key":
            return self.known_key(name, known)
        noun = {"assignment": "roleAssignments", "definition": "roleDefinitions"}[known["kind"]]
        found = self.get(f"/providers/Microsoft.Authorization/{noun}/{name}")
        assert (found is not None) == (known["state"] == "live"), (name, known)
        if found and known["kind"] == "definition":
            assert found["properties"]["description"] == known["description"]
        return None

    def known_key(self, name, known):
        live, deleted = self.get(f"/keys/{name}"), self.get(f"/deletedkeys/{name}")
        expected = {"live": (True, False), "deleted": (False, True)}.get(known["state"], (False, False))
        assert (live is not None, deleted is not None) == expected, (name, known["state"])
        if known["state"] == "live":
            assert {v["kid"] for v in self.listed(f"/keys/{name}/versions")} == set(known["versions"]), name
            for kid, acknowledged in known["versions"].items():
                found = self.get(kid.removeprefix(self.hsm))
                assert found["key"] == acknowledged["key"] and found.get("tags") == acknowledged.get("tags"), kid
            self.usable(name)
            policy = self.get(f"/keys/{name}/rotationpolicy")
            rotates = [a for a in policy["lifetimeActions"] if a["action"]["type"].lower() == "rotate"]
            assert bool(rotates) == known["policy"], policy
        elif known["state"] == "deleted":
            assert deleted["key"]["kid"] == list(known["versions"])[-1]

    def whole(self, name, known):
        """A key whose last change is open is as before it or as after it."""
        live, deleted = self.get(f"/keys/{name}"), self.get(f"/deletedkeys/{name}")
        assert not (live and deleted), name
        found = "live" if live else "deleted" if deleted else "none"
        assert found in (known["state"], known["next"]), (name, found, known)
        if live:
            kids = self.usable(name)
            assert live["key"]["kid"] in kids
            assert kids >= set(known["versions"]) and len(kids) <= len(known["versions"]) + 1, (name, kids, known)

    def usable(self, name):
        """Every version signs; the versions."""
        versions = self.listed(f"/keys/{name}/versions")
        for version in versions:
            body = {"alg": "ES256", "value": b64(7)}
            answer = self.session.post(version["kid"] + "/sign", params=VERSION, json=body, timeout=20)
            assert answer.status_code == 200, answer.text
            body = {"alg": "ES256", "digest": b64(7), "value": answer.json()["value"]}
            answer = self.session.post(version["kid"] + "/verify", params=VERSION, json=body, timeout=20)
            assert answer.json() == {"value": True}, answer.text
        return {version["kid"] for version in versions}


def test_what_was_acknowledged_survives_every_kill_and_is_in_the_log(own_server):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    moments, stop = random.Random(seed), threading.Event()
    clients = [Client(own_server, number, seed + number, stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for _ in range(ROUNDS):
            roles = ["partition", "service", "keeper", "service", "partition"]
            moments.shuffle(roles)
            for role in roles:
                time.sleep(moments.uniform(0.2, 1.2))
                own_server.kill(role)
                if role == "keeper":
                    own_server.start()
                else:
                    own_server.wait_ready()
        time.sleep(0.5)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not [failure for client in clients for failure in client.failures]
    check_objects(Checker(own_server), clients)
    acknowledged = [pair for client in clients for pair in client.acknowledged]
    kinds = collections.Counter(operation for operation, _ in acknowledged)
    opened = sum(len(client.open) for client in clients)
    print(len(acknowledged), "changes,", opened, "open,", dict(kinds))
    assert len(kinds) == 12, kinds
    assert own_server.stop() == 0
    check_log(own_server.folder / "home" / "data" / "audit", acknowledged)
    count("whole system: kill -9", 5 * ROUNDS)
    count("whole system: changes acknowledged between kills", len(acknowledged))


def check_objects(checker, clients):
    for client in clients:
        for name, known in client.objects.items():
            if name not in client.open:
                checker.known(name, known)
            elif known["kind"] == "key":
                checker.whole(name, known)
    everybody = {name for client in clients for name in client.objects}
    for path in "/keys", "/deletedkeys":
        names = {item["kid"].split("/keys/")[1].split("/")[0] for item in checker.listed(path)}
        assert names <= everybody, names - everybody


def check_log(folder, acknowledged):
    report = subprocess.run([BINARY, "audit", "verify", "--json", folder], capture_output=True, text=True, check=False)
    assert report.returncode == 0, report.stdout + report.stderr
    chains = json.loads(report.stdout)["useChains"]
    pools = {pool["name"]: pool for pool in chains["pools"]}
    assert pools.keys() >= {"demo", "system"} and chains["findings"] == [], chains
    # Every kill of a partition, service or keeper began a run; what each signed is proven, and only ends are not.
    assert pools["demo"]["runs"] > ROUNDS and pools["demo"]["proven"] > 0, pools
    unproven = sum(end["recorded"] for end in chains["unproven"])
    recorded = sum(pool["entries"] - pool["proven"] for pool in pools.values())
    assert unproven >= recorded, chains
    print(pools["demo"], "not proven:", unproven)
    rows = collections.defaultdict(list)
    for file in folder.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if "outbox" in record:
                rows[record["requestId"]].append((record["operationName"], record["outbox"]))
    for operation, request in acknowledged:
        assert len(set(rows[request])) == 1, (operation, request, rows[request])
        assert rows[request][0][0] == operation
    repeats = sum(len(lines) - len(set(lines)) for lines in rows.values())
    assert repeats == json.loads(report.stdout)["repeated"]
