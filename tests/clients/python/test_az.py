"""The az CLI, unmodified, from login to purge: the management plane, the directory and the data plane as az uses them."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import uuid

import pytest

from conftest import ROOT, Server, count

# Its packages are some hundred megabytes: ./test installs them once, in an environment of their own.
AZ = pathlib.Path(os.environ.get("STRONGROOM_AZ", ROOT / ".test" / "az" / "bin" / "az"))


class Az:
    """An az with a configuration folder of its own, logged in at a server."""

    def __init__(self, server):
        self.server = server
        self.config = tempfile.mkdtemp(prefix="strongroom-az-")
        # The managed-identity variables stay set for every command: without them az asks a link-local address.
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": self.config,
            "AZURE_CONFIG_DIR": self.config,
            "AZURE_CORE_COLLECT_TELEMETRY": "false",
            "AZURE_CORE_CHECK_FOR_UPGRADE": "false",
            "AZURE_CORE_INSTANCE_DISCOVERY": "false",
            "AZURE_CORE_NO_COLOR": "true",
            **{
                name: server.env[name]
                for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "IDENTITY_ENDPOINT", "IDENTITY_HEADER",
                             "AZURE_POD_IDENTITY_AUTHORITY_HOST")
            },
        }

    def __call__(self, *arguments, ok=True):
        done = subprocess.run(
            [AZ, *map(str, arguments), "--only-show-errors", "--output", "json"],
            env=self.env, capture_output=True, text=True, timeout=240, check=False,
        )
        assert (done.returncode == 0) == ok, f"az {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        count("az commands", 1)
        if not ok:
            return done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def login(self):
        env = self.server.env
        self("cloud", "register", "-n", "local", "--endpoint-resource-manager", env["STRONGROOM_MANAGEMENT_URL"])
        self("cloud", "set", "-n", "local")
        return self("login", "--service-principal", "-u", env["AZURE_CLIENT_ID"], "-p", env["AZURE_CLIENT_SECRET"],
                    "--tenant", env["STRONGROOM_TENANT_ID"])


@pytest.fixture(scope="module")
def az():
    if not AZ.exists():
        pytest.fail(f"no az at {AZ}: ./test installs it")
    server = Server("--principal", "other")
    server.start()
    az = Az(server)
    subscriptions = az.login()
    assert [s["id"] for s in subscriptions] == [server.env["AZURE_SUBSCRIPTION_ID"]]
    yield az
    server.stop()
    shutil.rmtree(az.config, ignore_errors=True)


def test_from_nothing_to_a_used_key_and_back(az):
    env = az.server.env
    az("group", "create", "-n", "rg1", "-l", "eastus")
    assert az("group", "exists", "-n", "rg1") is True
    made = az("keyvault", "create", "--hsm-name", "az1", "-g", "rg1", "-l", "eastus", "--administrators",
              env["STRONGROOM_OBJECT_ID"], "--retention-days", "7")
    assert made["properties"]["provisioningState"] == "Succeeded"
    assert made["properties"]["hsmUri"] == f"https://az1.managedhsm.localhost:{az.server.port}/"
    assert az("keyvault", "show", "--hsm-name", "az1")["name"] == "az1"
    assert {h["name"] for h in az("keyvault", "list", "--resource-type", "hsm")} == {"az1", "demo"}

    az("keyvault", "role", "assignment", "create", "--hsm-name", "az1", "--role", "Managed HSM Crypto User",
       "--assignee-object-id", env["STRONGROOM_OBJECT_ID"], "--scope", "/")
    roles = az("keyvault", "role", "assignment", "list", "--hsm-name", "az1")
    assert "Managed HSM Crypto User" in {r["roleName"] for r in roles}
    assert az("keyvault", "role", "definition", "list", "--hsm-name", "az1")

    key = az("keyvault", "key", "create", "--hsm-name", "az1", "-n", "k1", "--kty", "EC-HSM", "--curve", "P-256",
             "--ops", "sign", "verify")
    assert key["key"]["kid"].startswith(made["properties"]["hsmUri"] + "keys/k1/")
    digest = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="
    signed = az("keyvault", "key", "sign", "--hsm-name", "az1", "-n", "k1", "-a", "ES256", "--digest", digest)
    verified = az("keyvault", "key", "verify", "--hsm-name", "az1", "-n", "k1", "-a", "ES256", "--digest", digest,
                  "--signature", signed["signature"])
    assert verified["isValid"] is True
    assert [k["name"] for k in az("keyvault", "key", "list", "--hsm-name", "az1")] == ["k1"]

    az("keyvault", "delete", "--hsm-name", "az1", "-g", "rg1")
    assert [h["name"] for h in az("keyvault", "list-deleted", "--resource-type", "hsm")] == ["az1"]
    az("keyvault", "key", "list", "--hsm-name", "az1", ok=False)
    az("keyvault", "recover", "--hsm-name", "az1", "-l", "eastus")
    assert [k["name"] for k in az("keyvault", "key", "list", "--hsm-name", "az1")] == ["k1"]
    az("keyvault", "delete", "--hsm-name", "az1", "-g", "rg1")
    az("keyvault", "purge", "--hsm-name", "az1", "-l", "eastus")
    assert az("keyvault", "list-deleted", "--resource-type", "hsm") == []


def test_the_firewall_closes_and_opens(az):
    keys = ("keyvault", "key", "list", "--hsm-name", "demo")
    assert az(*keys) == []
    az("keyvault", "update-hsm", "--hsm-name", "demo", "--default-action", "Deny", "--bypass", "None")
    assert "ForbiddenBy" in az(*keys, ok=False) or "not authorized" in az(*keys, ok=False)
    az("keyvault", "network-rule", "add", "--hsm-name", "demo", "--ip-address", "127.0.0.0/8")
    rules = az("keyvault", "network-rule", "list", "--hsm-name", "demo")
    assert [r["value"] for r in rules["ipRules"]] == ["127.0.0.0/8"]
    assert az(*keys) == []
    az("keyvault", "network-rule", "remove", "--hsm-name", "demo", "--ip-address", "127.0.0.0/8")
    az("keyvault", "update-hsm", "--hsm-name", "demo", "--default-action", "Allow")
    assert az(*keys) == []


def test_vaults_live_as_resources(az):
    az("group", "create", "-n", "rg2", "-l", "eastus")
    made = az("keyvault", "create", "-n", "vault1", "-g", "rg2", "-l", "eastus")
    assert made["properties"]["enableRbacAuthorization"] is True
    assert made["properties"]["vaultUri"] == f"https://vault1.vault.localhost:{az.server.port}/"
    assert [v["name"] for v in az("keyvault", "list", "--resource-type", "vault")] == ["vault1"]
    az("keyvault", "update", "-n", "vault1", "--enable-rbac-authorization", "false")
    other = az.server.env["STRONGROOM_PRINCIPAL_OTHER_OBJECT_ID"]
    policy = az("keyvault", "set-policy", "-n", "vault1", "--object-id", other, "--key-permissions", "get", "list")
    assert [p["objectId"] for p in policy["properties"]["accessPolicies"]] == [other]
    az("keyvault", "delete-policy", "-n", "vault1", "--object-id", other)
    assert az("keyvault", "show", "-n", "vault1")["properties"]["accessPolicies"] == []
    az("keyvault", "network-rule", "add", "-n", "vault1", "--ip-address", "192.0.2.7")
    assert az("keyvault", "show", "-n", "vault1")["properties"]["networkAcls"]["ipRules"] == [{"value": "192.0.2.7/32"}]
    az("keyvault", "delete", "-n", "vault1")
    assert [v["name"] for v in az("keyvault", "list-deleted", "--resource-type", "vault")] == ["vault1"]
    az("keyvault", "recover", "-n", "vault1")
    az("keyvault", "delete", "-n", "vault1")
    az("keyvault", "purge", "-n", "vault1", "-l", "eastus")
    assert az("keyvault", "list", "--resource-type", "vault") == []


def test_roles_of_the_management_plane(az):
    env = az.server.env
    az("group", "create", "-n", "rg3", "-l", "eastus")
    scope = f"/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/rg3"
    other = env["STRONGROOM_PRINCIPAL_OTHER_OBJECT_ID"]
    made = az("role", "assignment", "create", "--assignee-object-id", other, "--assignee-principal-type",
              "ServicePrincipal", "--role", "Managed HSM contributor", "--scope", scope, "--name", uuid.uuid4())
    assert made["principalId"] == other and made["scope"] == scope
    listed = az("role", "assignment", "list", "--scope", scope)
    assert [a["roleDefinitionName"] for a in listed] == ["Managed HSM contributor"]
    assert az("role", "definition", "list", "--name", "Owner")[0]["roleName"] == "Owner"
    az("role", "assignment", "delete", "--ids", made["id"])
    assert az("role", "assignment", "list", "--scope", scope) == []
    owner = az("role", "assignment", "list", "--scope", f"/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}")[0]
    assert "last Owner" in az("role", "assignment", "delete", "--ids", owner["id"], ok=False)
