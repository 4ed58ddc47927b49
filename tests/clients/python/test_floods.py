"""Floods and bodies without end: they cost no memory, and good clients beside them are served."""

import contextlib
import os
import pathlib
import socket
import ssl
import struct
import threading
import time

import pytest
import requests

from conftest import children, count

SECONDS = 5 if os.environ.get("STRONGROOM_ROUNDS", "1") == "1" else 30
GROWTH_MAX = 16 << 20
# One write of a flood: large enough that the other end, not this one, is at work.
BATCH = 2000


def resident(pid):
    """Bytes of memory that a process holds (VmRSS)."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


class Memory:
    """Watches the memory of service and partitions while its block runs."""

    def __init__(self, server):
        self.pids = [pid for pids in children(server.process.pid).values() for pid in pids]
        self.before = {pid: resident(pid) for pid in self.pids}
        self.most = dict(self.before)
        self.over = threading.Event()

    def __enter__(self):
        self.watch = threading.Thread(target=self.look)
        self.watch.start()
        return self

    def look(self):
        while not self.over.wait(0.005):
            for pid in self.pids:
                self.most[pid] = max(self.most[pid], resident(pid))

    def __exit__(self, *_):
        self.over.set()
        self.watch.join()
        self.growth = max(self.most[pid] - self.before[pid] for pid in self.pids)


def connect(server, protocol):
    context = ssl.create_default_context(cafile=server.env["STRONGROOM_CA"])
    context.set_alpn_protocols([protocol])
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    tls = context.wrap_socket(plain, server_hostname="demo.managedhsm.localhost")
    assert tls.selected_alpn_protocol() == protocol
    return tls


# ----- HTTP/2 by hand (RFC 9113): no client library sends what is sent here -----

DATA, HEADERS, RESET, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    """A literal header field, never indexed (RFC 7541, 6.2.3)."""
    return b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(server, method=b"GET", path=b"/keys"):
    authority = f"demo.managedhsm.localhost:{server.port}".encode()
    return field(b":method", method) + field(b":scheme", b"https") + field(b":authority", authority) + field(b":path", path)


def rapid_reset(server):
    """CVE-2023-44487: streams that are opened and given up at once."""
    fields, stream = head(server), 1
    while True:
        batch = b""
        for _ in range(BATCH):
            batch += frame(HEADERS, END_STREAM | END_HEADERS, stream, fields) + frame(RESET, 0, stream, b"\0\0\0\x08")
            stream += 2
        yield batch, BATCH


def continuation(server):
    """CVE-2024-27316 and its like: a head that never ends."""
    yield frame(HEADERS, 0, 1, head(server)), 1
    more = b"".join(field(b"x-%d" % n, b"v" * 100) for n in range(140))
    while True:
        yield frame(CONTINUATION, 0, 1, more) * 20, 20


def empty_data(server):
    """RUSTSEC-2026-0258: frames of a body that hold nothing."""
    yield frame(HEADERS, END_HEADERS, 1, head(server, b"POST", b"/keys/x/create?api-version=7.6")), 1
    while True:
        yield frame(DATA, 0, 1) * BATCH, BATCH


def pings(server):
    """Every one is to be answered."""
    while True:
        yield frame(PING, 0, 0, b"12345678") * BATCH, BATCH


def settings(server):
    """Every one is to be acknowledged."""
    while True:
        yield frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64") * BATCH, BATCH


def flood(server, kind, until, sent):
    while time.monotonic() < until:
        with contextlib.suppress(OSError), connect(server, "h2") as tls:
            tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
            for batch, frames in kind(server):
                tls.sendall(batch)
                sent[0] += frames
                if time.monotonic() > until:
                    break


FLOODS = [rapid_reset, continuation, empty_data, pings, settings]


@pytest.mark.parametrize("kinds", [FLOODS[:3], FLOODS[3:]], ids=["attacks", "chatter"])
def test_floods_harm_no_good_client(own_server, kinds):
    server = own_server
    good = server.session()
    made = good.post(f"{server.hsm}/keys/good/create?api-version=7.6", json={"kty": "EC", "crv": "P-256"}).json()
    kid, digest, answered = made["key"]["kid"], "A" * 43, 0
    for _ in range(200):  # what a process needs for its ordinary work, it has then
        assert good.post(f"{kid}/sign?api-version=7.6", json={"alg": "ES256", "value": digest}, timeout=30).status_code == 200
    with Memory(server) as memory:
        until = time.monotonic() + SECONDS
        sent = {kind: [0] for kind in kinds}
        attackers = [threading.Thread(target=flood, args=(server, kind, until, sent[kind])) for kind in kinds]
        for attacker in attackers:
            attacker.start()
        while time.monotonic() < until:
            answer = good.post(f"{kid}/sign?api-version=7.6", json={"alg": "ES256", "value": digest}, timeout=30)
            assert answer.status_code == 200, answer.text
            with requests.get(f"{server.hsm}/healthz", verify=server.env["STRONGROOM_CA"], timeout=30) as fresh:
                assert fresh.status_code == 200
            answered += 1
        for attacker in attackers:
            attacker.join()
    assert all(number[0] > 0 for number in sent.values()), sent
    assert answered > 2
    assert memory.growth < GROWTH_MAX, memory.growth
    assert good.post(f"{kid}/sign?api-version=7.6", json={"alg": "ES256", "value": digest}).status_code == 200
    for kind in kinds:
        count(f"floods: frames of {kind.__name__}", sent[kind][0])
    count("floods: good requests answered beside them", 2 * answered)
    print("growth", memory.growth, {kind.__name__: n[0] for kind, n in sent.items()}, "good", answered)


# ----- bodies and heads without end -----


def until_closed(server, first, more, bytes_max):
    """Sends until the other end closes or has enough; the status of its answer, 0 when there was none."""
    with connect(server, "http/1.1") as tls:
        sent = 0
        with contextlib.suppress(OSError):
            tls.sendall(first)
            while sent < bytes_max:
                tls.sendall(more)
                sent += len(more)
        answer = b""
        with contextlib.suppress(OSError):
            while part := tls.recv(65536):
                answer += part
        return (int(answer.split(b" ")[1]) if answer else 0), sent


def test_what_has_no_end_costs_no_memory(own_server):
    server = own_server
    token = server.token()
    session = server.session(token)
    for _ in range(100):
        assert session.get(f"{server.hsm}/keys?api-version=7.6").status_code == 200
    host = f"demo.managedhsm.localhost:{server.port}"
    start = (f"POST /keys/large/create?api-version=7.6 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
             "Content-Type: application/json\r\n")
    mib = b" " * (1 << 20)
    url = f"{server.hsm}/keys/large/create?api-version=7.6"
    tags = "{" + ",".join(f'"{n}":""' for n in range(1_000_000)) + "}"
    cases = {
        "a body of 1 GiB": lambda: until_closed(server, (start + "Content-Length: 1073741824\r\n\r\n").encode(), mib, 1 << 30),
        "chunks without end": lambda: until_closed(
            server, (start + "Transfer-Encoding: chunked\r\n\r\n").encode(), b"4000\r\n" + b" " * 0x4000 + b"\r\n", 1 << 26),
        "a chunk extension without end": lambda: until_closed(
            server, (start + "Transfer-Encoding: chunked\r\n\r\n1;").encode(), b"x" * 65536, 1 << 26),
        "trailers without end": lambda: until_closed(
            server, (start + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n").encode(), b"x: y\r\n" * 5000, 1 << 26),
        "100,000 headers": lambda: until_closed(server, f"GET /keys HTTP/1.1\r\nHost: {host}\r\n".encode(), b"x: y\r\n" * 1000, 600_000),
        "a header without end": lambda: until_closed(server, f"GET /keys HTTP/1.1\r\nHost: {host}\r\nx: ".encode(), b"y" * 65536, 1 << 26),
        "a target without end": lambda: until_closed(server, b"GET /", b"a" * 65536, 1 << 26),
        "depth 100,000": lambda: (session.post(url, data="[" * 100_000).status_code, 0),
        "depth 60,000": lambda: (session.post(url, data='{"kty":' + "[" * 60_000).status_code, 0),
        "1,000,000 tags": lambda: (session.post(url, data='{"kty":"oct","tags":' + tags + "}").status_code, 0),
    }
    answers = {}
    with Memory(server) as memory:
        for what, send in cases.items():
            try:
                answers[what], sent = send()
            except requests.ConnectionError:
                answers[what], sent = 0, 0  # closed before everything was sent, which a client may see instead of the answer
            assert sent < 1 << 26, f"{what}: {sent} bytes were taken"
    assert all(status in (0, 400, 408, 413, 414, 431) for status in answers.values()), answers
    assert memory.growth < GROWTH_MAX, memory.growth
    assert session.get(f"{server.hsm}/keys?api-version=7.6").status_code == 200
    count("heads and bodies without end", len(cases))
    print("growth", memory.growth, answers)
