"""What lies on the disk is edited while the server is stopped: it is seen before use, said in one line, and never a panic."""

import json
import os
import random
import shutil
import subprocess

import pytest

from conftest import BINARY, Server

FLIPS = 12 * int(os.environ.get("STRONGROOM_ROUNDS", "1"))


@pytest.fixture(scope="module")
def stopped():
    """A server with a few keys, stopped; and what each key's public half is."""
    server = Server().start()
    session, keys = server.session(), {}
    for number in range(8):
        body = {"kty": "EC", "tags": {"n": str(number)}}
        made = session.post(f"{server.hsm}/keys/k{number}/create?api-version=7.6", json=body).json()
        keys[f"k{number}"] = made["key"]["x"]
    assert server.stop() == 0
    yield server, keys
    server.close()


def edited(server, keys, edit):
    """Starts on an edited copy: the server's own words if it does not start; else every key is right or refused."""
    home, kept = server.folder / "home", server.folder / "kept"
    shutil.copytree(home, kept)
    try:
        edit(home)
        try:
            server.start()
        except (RuntimeError, AssertionError):
            text = server.log.read_text()
            assert "panicked" not in text, text[-2000:]
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
            return text.strip().splitlines()[-1]
        session = server.session()
        for name, x in keys.items():
            answer = session.get(f"{server.hsm}/keys/{name}?api-version=7.6")
            assert answer.status_code in (200, 404, 500, 503), answer.text
            assert answer.status_code != 200 or answer.json()["key"]["x"] == x
        server.stop()
        assert "panicked" not in server.log.read_text()
        return None
    finally:
        shutil.rmtree(home)
        kept.rename(home)
        server.log.write_text("")


def test_flipped_bytes_of_the_store_are_seen_before_use(stopped):
    server, keys = stopped
    seed = random.randrange(1 << 32)
    print("seed", seed)
    noise = random.Random(seed)

    def flip(home):
        path = home / "data" / "store" / "store.redb"
        content = bytearray(path.read_bytes())
        used = [i for i in range(0, len(content), 64) if any(content[i:i + 64])]
        for _ in range(4):
            content[noise.choice(used) + noise.randrange(64)] ^= 1 << noise.randrange(8)
        path.write_bytes(content)

    for _ in range(FLIPS):
        edited(server, keys, flip)


def test_a_store_that_was_cut_off_is_refused(stopped):
    server, keys = stopped

    def cut(home):
        path = home / "data" / "store" / "store.redb"
        with open(path, "r+b") as file:
            file.truncate(path.stat().st_size // 2)

    assert edited(server, keys, cut)


def test_another_seal_opens_nothing_and_is_named(stopped):
    server, keys = stopped

    def reseal(home):
        seal = home / "seal"
        seal.unlink()
        subprocess.run([BINARY, "seal", "create", seal], check=True, capture_output=True)

    said = edited(server, keys, reseal)
    assert said and "seal" in said
    said = edited(server, keys, lambda home: (home / "seal").unlink())
    assert said and "seal" in said
    assert edited(server, keys, lambda home: None) is None


def test_an_edited_log_does_not_verify(stopped):
    server, _ = stopped
    folder = server.folder / "home" / "data" / "audit"
    log = folder / "insights-logs-auditevent.jsonl"
    whole = log.read_bytes()
    verify = lambda: subprocess.run([BINARY, "audit", "verify", folder, "--json"], capture_output=True, text=True, timeout=60)  # noqa: E731
    assert verify().returncode == 0, verify().stdout
    lines = whole.splitlines(keepends=True)
    try:
        for edit in (lines[:3] + lines[4:], lines[:2] + [lines[3], lines[2]] + lines[4:], lines + lines[-1:],
                     lines[:4] + [lines[4].replace(b"2", b"3", 1)] + lines[5:]):
            log.write_bytes(b"".join(edit))
            found = verify()
            assert found.returncode != 0 and json.loads(found.stdout), found.stdout
    finally:
        log.write_bytes(whole)
