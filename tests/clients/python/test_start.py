"""Starts that the machine refuses: one clear line, exit code 78, and nothing half made."""

import ctypes
import os
import resource
import subprocess

import pytest

from conftest import BINARY, Server, free_port

CONFIGURATION = 78
MEMLOCK_BYTES = 64 << 10
PR_CAPBSET_DROP, CAP_IPC_LOCK = 24, 14


def refusal(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)
    assert done.returncode == CONFIGURATION, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("strongroom: ")]
    assert len(lines) == 1 and "panicked" not in done.stderr, done.stderr
    return lines[0]


def without_memory_lock():
    """In the child: a limit that locks next to nothing, and no capability to go over it."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (MEMLOCK_BYTES, MEMLOCK_BYTES))
    # Fails for who has no such capability anyway.
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)


def test_production_does_not_start_with_memory_that_can_be_swapped(tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (tmp_path / "identity").mkdir(mode=0o700)
    subprocess.run([BINARY, "seal", "create", tmp_path / "sealed" / "seal"], check=True, capture_output=True)
    subprocess.run([BINARY, "principal", "--directory", tmp_path / "identity" / "directory.toml", "add", "app"], check=True, capture_output=True)
    settings = tmp_path / "strongroom.toml"
    settings.write_text(
        f'domain = "localhost"\nport = {free_port()}\nlisten = ["127.0.0.1"]\ndata = "data"\nseal = "sealed/seal"\nruntimes = 1\n'
        '[tls]\nca_file = "identity/ca.pem"\n[identity]\ntenant_id = "11111111-1111-1111-1111-111111111111"\n'
        'directory = "identity/directory.toml"\n[[pool]]\nname = "payments"\nadministrators = ["22222222-2222-2222-2222-222222222222"]\n')
    said = refusal([BINARY, "serve", "--config", settings], preexec_fn=without_memory_lock)
    assert "allow_unlocked_memory" in said and "CAP_IPC_LOCK" in said, said
    assert [entry.name for entry in data.iterdir()] == ["audit"]


def test_dev_starts_all_the_same_and_warns(monkeypatch):
    server, popen = Server("--runtimes", "1"), subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **o: popen(*a, preexec_fn=without_memory_lock, **o))
    try:
        server.start()
        assert server.log.read_text().count("not locked") == 1, server.log.read_text()
        assert server.stop() == 0
    finally:
        server.close()


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    # A mode does not stop root; a disk that is mounted read-only does.
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,mode=0700", "tmpfs", home], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        if os.geteuid() == 0:
            pytest.skip(f"READ-ONLY HOME NOT TESTED: no tmpfs can be mounted here ({mounted.stderr.strip()})")
        home.chmod(0o500)
    try:
        said = refusal([BINARY, "dev", "--data", home, "--port", str(free_port())])
        assert str(home) in said and ("ead-only" in said or "ermission" in said), said
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", home], check=False)
