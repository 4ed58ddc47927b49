"""What the confined service can reach of the files around it, and that what it needs still works."""

import shutil
import time

from conftest import children


def logged(server, text, seconds=20):
    deadline = time.monotonic() + seconds
    while text not in server.log.read_text():
        assert time.monotonic() < deadline, server.log.read_text()[-4000:]
        time.sleep(0.05)


def test_the_service_cannot_read_the_seal(own_server):
    """The directory file is read again when it changes; a link in its place leads the service to a file of somebody's choice."""
    server = own_server
    home = server.folder / "home"
    directory = home / "identity" / "directory.toml"
    token = server.token()
    for number, target in enumerate([home / "seal", home / "dev.json", "/etc/passwd", f"/proc/{server.process.pid}/environ"]):
        mark = server.log.stat().st_size
        link = directory.with_name("link")
        link.symlink_to(target)
        shutil.move(directory, directory.with_name("kept"))
        link.rename(directory)
        deadline = time.monotonic() + 20
        while "Permission denied" not in server.log.read_text()[mark:]:
            assert time.monotonic() < deadline, (target, server.log.read_text()[mark:])
            time.sleep(0.05)
        # A copy with another name is the same directory, and it is read: the folder is the service's to read.
        directory.unlink()
        shutil.move(directory.with_name("kept"), directory)
        assert server.get("/keys?api-version=7.6", headers={"Authorization": f"Bearer {token}"}).status_code == 200, number
    assert server.token()


def test_the_service_is_confined(own_server):
    (service,) = children(own_server.process.pid)["service"]
    fields = dict(line.split(":\t", 1) for line in open(f"/proc/{service}/status") if ":\t" in line)
    assert fields["Seccomp"].strip() == "2" and fields["NoNewPrivs"].strip() == "1"
    for pid in [own_server.process.pid, service]:
        limits = open(f"/proc/{pid}/limits").read()
        assert "Max core file size        0" in limits
