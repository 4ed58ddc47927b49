"""A disk that fails: the service ends, and the next one has everything that was acknowledged."""

import resource
import signal
import subprocess
import time

import pytest
import requests

from conftest import Server

def limit_files(server, size):
    """From here on the service's files do not grow over `size`: writing behind it fails, as on a broken disk."""
    (service,) = server.children()["service"]
    before = resource.prlimit(service, resource.RLIMIT_FSIZE)
    resource.prlimit(service, resource.RLIMIT_FSIZE, (size, before[1]))
    return service


def wait_for_another(server, service):
    deadline = time.monotonic() + 60
    while server.children().get("service", [service]) == [service]:
        assert time.monotonic() < deadline, server.log.read_text()[-4000:]
        time.sleep(0.05)
    server.wait_ready(60)


def change(session, hsm):
    return session.post(f"{hsm}/keys/more/create?api-version=7.6", json={"kty": "EC-HSM"}, timeout=20)


def use(session, hsm):
    return session.get(f"{hsm}/keys/k0?api-version=7.6", timeout=20)


# Half of the store is more than the log has yet: the store fails alone. One page stops the log at the next line.
@pytest.mark.parametrize("ask, said", [(change, "the store failed"), (use, "the audit log failed")])
def test_after_a_failed_write_the_service_ends_and_the_next_one_has_everything(monkeypatch, ask, said):
    popen = subprocess.Popen
    ignore = lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # else the kernel kills instead of failing the write
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **o: popen(*a, preexec_fn=ignore, **o))
    server = Server("--runtimes", "1")
    try:
        server.start()
        session = server.session()
        made = []
        for number in range(5):
            path = f"{server.hsm}/keys/k{number}/create?api-version=7.6"
            made.append(session.post(path, json={"kty": "EC-HSM"}, timeout=20).json()["key"]["kid"])
        store = server.folder / "home" / "data" / "store" / "store.redb"
        service = limit_files(server, store.stat().st_size // 2 if ask is change else 4096)
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline, server.log.read_text()[-4000:]
            try:
                answer = ask(session, server.hsm)
            except requests.RequestException:
                break  # what cannot be recorded is not answered
            if answer.status_code != 200:
                assert answer.status_code == 503, answer.text
                break
            if ask is change:
                made.append(answer.json()["key"]["kid"])
        wait_for_another(server, service)
        assert said in server.log.read_text(), server.log.read_text()[-4000:]
        session = server.session()
        for kid in made:
            assert session.get(f"{kid}?api-version=7.6", timeout=20).status_code == 200, kid
        assert session.post(f"{server.hsm}/keys/after/create?api-version=7.6", json={"kty": "EC-HSM"}, timeout=20).status_code == 200
        assert server.stop() == 0
    finally:
        server.close()
