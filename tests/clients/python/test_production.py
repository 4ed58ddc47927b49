"""From an empty machine to `serve` with one administrator, by the very commands of docs/configuration.md."""

import os
import re
import signal
import subprocess
import time

import pytest
import requests
from azure.identity import ClientSecretCredential
from azure.keyvault.administration import KeyVaultAccessControlClient, KeyVaultRoleScope
from azure.keyvault.keys import KeyClient

from conftest import BINARY, ROOT, free_port

TEXT = (ROOT / "docs" / "configuration.md").read_text()
POOL = "demo"


def block(language, after):
    return re.search(rf"{after}.*?^```{language}\n(.*?)^```", TEXT, re.M | re.S).group(1)


class Site:
    """The paths of the documentation below a folder, and names and ports that this machine has."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.settings = folder / "etc/strongroom/strongroom.toml"
        for parent in ["etc/strongroom", "var/lib"]:
            (folder / parent).mkdir(parents=True, mode=0o700)
        text = self.here(block("toml", "^# Configuration"))
        text = text.replace("hsm.example.org", "localhost").replace('"payments"', f'"{POOL}"')
        self.settings.write_text(f"port = {self.port}\nlisten = [\"127.0.0.1\"]\nallow_unlocked_memory = true\n{text}")

    def here(self, text):
        return re.sub(r"(?<![\w/])/(etc|var)/", rf"{self.folder}/\1/", text)

    def run(self, commands):
        environment = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        (self.folder / "bin").mkdir(exist_ok=True)
        link = self.folder / "bin" / "strongroom"
        if not link.exists():
            link.symlink_to(BINARY)
        done = subprocess.run(
            ["sh", "-euc", self.here(commands)], env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def site(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AZURE_") or name == "REQUESTS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    return Site(tmp_path)


def test_the_first_start_as_documented(site, monkeypatch):
    printed = site.run(block("sh", "^## First start"))
    ids = dict(re.findall(r"^(client id|object id|client secret) +(\S+)$", printed, re.M))
    refused = subprocess.run([BINARY, "serve", "--config", site.settings], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 78 and "principal --config FILE add NAME" in refused.stderr, refused.stderr
    text = site.settings.read_text()
    site.settings.write_text(text.replace("administrators = []", f'administrators = ["{ids["object id"]}"]'))
    check, serve = block("sh", "administrators = \\[.…").strip().splitlines()
    assert "purge_protection = true" in site.run(check)

    log = open(site.folder / "log", "wb")
    arguments = site.here(serve).split()[1:]
    process = subprocess.Popen([BINARY, *arguments], stdout=log, stderr=log)
    try:
        ca = site.folder / "var/lib/strongroom/ca.pem"
        deadline = time.monotonic() + 60
        url = f"https://{POOL}.managedhsm.localhost:{site.port}"
        while True:
            try:
                if requests.get(f"{url}/readyz", verify=str(ca), timeout=5).status_code == 200:
                    break
            except (requests.RequestException, OSError):
                pass
            assert process.poll() is None and time.monotonic() < deadline, (site.folder / "log").read_text()
            time.sleep(0.05)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca))
        credential = ClientSecretCredential(
            "adfs", ids["client id"], ids["client secret"], authority=f"https://login.localhost:{site.port}",
            disable_instance_discovery=True)
        access = KeyVaultAccessControlClient(url, credential)
        user = next(d for d in access.list_role_definitions(KeyVaultRoleScope.GLOBAL)
                    if d.role_name == "Managed HSM Crypto User")
        access.create_role_assignment(KeyVaultRoleScope.KEYS, user.id, ids["object id"])
        key = KeyClient(url, credential).create_ec_key("first", hardware_protected=True)
        assert key.key_type == "EC-HSM"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, (site.folder / "log").read_text()
