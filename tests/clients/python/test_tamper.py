"""Tampering with what lies on the disk while nothing runs: it is found or it harms nothing, and the refusal is one clear line."""

import base64
import hashlib
import json
import os
import random
import re
import shutil
import subprocess

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from conftest import BINARY, ON_ETCD, Server, count

pytestmark = pytest.mark.skipif(ON_ETCD, reason="the embedded store's file is tampered with")

ROUNDS = int(os.environ.get("STRONGROOM_ROUNDS", "1"))
FLIPS = 12 * ROUNDS
CUTS = 4 * ROUNDS
KEYS = 12
VERSION = {"api-version": "7.6"}
DIGEST = base64.urlsafe_b64encode(hashlib.sha256(b"message").digest()).rstrip(b"=").decode()
CONFIGURATION = 78


@pytest.fixture(scope="module")
def sound():
    """A stopped server with keys, what its keys are and sign, and a copy of its folder."""
    server = Server().start()
    session, keys = server.session(), {}
    for number in range(KEYS):
        made = session.post(f"{server.hsm}/keys/k{number}/create", params=VERSION, json={"kty": "EC-HSM", "tags": {"n": "x" * 50}})
        keys[made.json()["key"]["kid"]] = made.json()["key"]
    assert server.stop() == 0
    shutil.copytree(server.folder / "home", server.folder / "sound")
    yield server, keys
    server.close()


@pytest.fixture
def house(sound):
    """The same server, with its folder as it was, to be tampered with."""
    server, keys = sound
    restore(server)
    yield server, keys
    assert server.process.poll() is not None


def restore(server):
    shutil.rmtree(server.folder / "home")
    shutil.copytree(server.folder / "sound", server.folder / "home")
    server.log.write_text("")


def store_of(server):
    return server.folder / "home" / "data" / "store" / "store.redb"


def start(server):
    """Whether it starts; if not, the refusal is one line for people with the exit code for what a restart does not mend."""
    try:
        server.start()
        return True
    except RuntimeError:
        said = server.log.read_text()
        assert server.process.wait(10) == CONFIGURATION, said
        refusals = [line for line in said.splitlines() if line.startswith("strongroom: ")]
        assert len(refusals) == 1 and len(refusals[0]) < 400, said
        return False


def refusal(server):
    return next(line for line in server.log.read_text().splitlines() if line.startswith("strongroom: "))


def answers(server, keys):
    """Every key signs as itself, or is refused or gone; how many are whole."""
    session, whole = server.session(), 0
    for kid, key in keys.items():
        found = session.get(kid, params=VERSION)
        signed = session.post(kid + "/sign", params=VERSION, json={"alg": "ES256", "value": DIGEST})
        if found.status_code == 200:
            assert found.json()["key"] == key
        if signed.status_code == 200:
            body = {"alg": "ES256", "digest": DIGEST, "value": signed.json()["value"]}
            assert signed.json()["kid"] == kid and verifies(key, body), "another key signed"
            whole += 1
    return whole


def verifies(key, body):
    def number(text):
        return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")

    public = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]), ec.SECP256R1()).public_key()
    both = number(body["value"])
    signature = utils.encode_dss_signature(both >> 256, both & ((1 << 256) - 1))
    try:
        public.verify(signature, hashlib.sha256(b"message").digest(), ec.ECDSA(utils.Prehashed(SHA256())))
    except InvalidSignature:
        return False
    return True


def no_panic(server):
    """None of ours: redb panics at a page of the wrong kind, which is caught and becomes an error."""
    places = re.findall(r"panicked at (\S+)", server.log.read_text())
    assert all("/redb-" in place for place in places), places


def test_a_flipped_byte_of_the_store_is_refused_or_harms_nothing(sound):
    server, keys = sound
    seed = random.randrange(1 << 32)
    print("seed", seed)
    places = random.Random(seed)
    restore(server)
    original = store_of(server).read_bytes()
    # Most of the file is free pages: only bytes that say something are worth a flip.
    used = [at for at, byte in enumerate(original) if byte]
    refused = 0
    for _ in range(FLIPS):
        restore(server)
        at, mask = places.choice(used), 1 << places.randrange(8)
        with open(store_of(server), "r+b") as store:
            store.seek(at)
            store.write(bytes([original[at] ^ mask]))
        print("byte", at, "mask", mask)
        if start(server):
            answers(server, keys)
            server.stop()
        else:
            refused += 1
            assert "store" in refusal(server), refusal(server)
        no_panic(server)
    print(refused, "of", FLIPS, "refused at the start")
    count("tampering: flipped bytes of the store", FLIPS)


def test_a_cut_store_is_refused(sound):
    server, _ = sound
    seed = random.randrange(1 << 32)
    print("seed", seed)
    places, size = random.Random(seed), store_of(server).stat().st_size
    lengths = [0, 1, size - 1, *(places.randrange(size) for _ in range(CUTS))]
    for length in lengths:
        restore(server)
        os.truncate(store_of(server), length)
        print("length", length)
        if start(server):
            server.stop()
            raise AssertionError(f"a store of {length} of {size} bytes was opened")
        assert "store.redb" in refusal(server), refusal(server)
        no_panic(server)
    count("tampering: cut stores", len(lengths))


def test_another_seal_is_named_and_the_right_one_still_opens(house):
    server, keys = house
    home, other = server.folder / "home", server.folder / "other"
    subprocess.run([BINARY, "seal", "create", other], check=True, capture_output=True)
    shutil.copy(home / "seal", server.folder / "kept")
    shutil.copy(other, home / "seal")
    assert not start(server)
    assert "seal" in refusal(server), refusal(server)
    damaged = bytearray((server.folder / "kept").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (home / "seal").write_bytes(damaged)
    server.log.write_text("")
    assert not start(server)
    assert "seal" in refusal(server), refusal(server)
    (home / "seal").unlink()
    server.log.write_text("")
    assert not start(server)
    assert "there is no seal file" in refusal(server), refusal(server)
    shutil.copy(server.folder / "kept", home / "seal")
    assert start(server)
    assert answers(server, keys) == KEYS
    assert server.stop() == 0
    no_panic(server)


def verify_log(folder, *head):
    done = subprocess.run([BINARY, "audit", "verify", "--json", *head, folder], capture_output=True, text=True, check=False)
    assert "panicked" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def test_a_deleted_cut_or_edited_log_is_found(house):
    server, _ = house
    folder = server.folder / "home" / "data" / "audit"
    file = next(folder.glob("*.jsonl"))
    lines = file.read_bytes().splitlines(keepends=True)
    code, report = verify_log(folder)
    assert code == 0 and report["lines"] == len(lines) > KEYS
    head = ("--head", f"{report['lastSequence']}:{report['lastHash']}")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    places = random.Random(seed)
    for _ in range(40 * ROUNDS):
        edited = bytearray(b"".join(lines))
        at = places.randrange(len(edited))
        edited[at] ^= 1 << places.randrange(8)
        file.write_bytes(edited)
        assert verify_log(folder, *head)[0] == 1, at
    count("tampering: flipped bits of the log", 40 * ROUNDS)
    for gone in places.sample(range(1, len(lines)), min(10, len(lines) - 1)):
        file.write_bytes(b"".join(lines[:gone] + lines[gone + 1:]))
        assert verify_log(folder, *head)[0] == 1, gone
        file.write_bytes(b"".join(lines[:gone]))
        assert verify_log(folder, *head)[0] == 1, gone
    # The store remembers a signed head of the log: one that was cut or deleted before a start stays visible for ever.
    for left in (lines[: len(lines) // 2], None):
        restore(server)
        file.unlink() if left is None else file.write_bytes(b"".join(left))
        if start(server):
            assert server.stop() == 0
        code, report = verify_log(folder)
        assert code == 1, report
    restore(server)
    edited = file.read_bytes().rstrip(b"\n").rsplit(b"\n", 1)
    file.write_bytes(edited[0] + b"\n" + edited[1].replace(b"2", b"3", 1) + b"\n")
    assert not start(server)
    assert "audit" in refusal(server), refusal(server)
    no_panic(server)
