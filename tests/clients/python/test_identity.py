"""Every way in that the SDKs have, without any check switched off."""

import asyncio
import base64
import json
import os

import pytest
import requests
from azure.identity import ClientSecretCredential, DefaultAzureCredential, EnvironmentCredential, ManagedIdentityCredential
from azure.identity.aio import DefaultAzureCredential as AsyncCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.aio import KeyClient as AsyncKeyClient


def listed(server, credential):
    return list(KeyClient(server.env["STRONGROOM_HSM_URL"], credential).list_properties_of_keys())


def test_environment_and_default_credentials(server):
    listed(server, DefaultAzureCredential())
    listed(server, EnvironmentCredential())


def test_client_secret_with_the_tenants_guid(server):
    env = server.env
    listed(server, ClientSecretCredential(env["STRONGROOM_TENANT_ID"], env["AZURE_CLIENT_ID"], env["AZURE_CLIENT_SECRET"],
                                          disable_instance_discovery=True))


def test_managed_identity_in_both_forms(server, monkeypatch):
    listed(server, ManagedIdentityCredential())  # IDENTITY_ENDPOINT
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    monkeypatch.delenv("IDENTITY_HEADER")
    assert os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"].startswith("http://127.0.0.1:")
    listed(server, ManagedIdentityCredential())


def test_async_client(server):
    async def run():
        async with AsyncCredential() as credential, AsyncKeyClient(server.env["STRONGROOM_HSM_URL"], credential) as client:
            return [key.name async for key in client.list_properties_of_keys()]

    asyncio.run(run())


def test_a_wrong_secret_is_refused_like_an_unknown_client(server):
    url = f"{server.env['AZURE_AUTHORITY_HOST']}/{server.env['STRONGROOM_TENANT_ID']}/oauth2/v2.0/token"
    answers = []
    for client in server.env["AZURE_CLIENT_ID"], "00000000-0000-0000-0000-000000000001":
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": "wrong",
                "scope": f"https://managedhsm.localhost:{server.port}/.default"}
        answer = requests.post(url, data=form, verify=server.env["STRONGROOM_CA"], timeout=10)
        answers.append((answer.status_code, answer.json()["error"], answer.json()["error_codes"]))
    assert answers[0] == answers[1] and answers[0][:2] == (401, "invalid_client")


def test_tokens_of_another_audience_or_another_key_are_refused(server):
    path = f"{server.hsm}/keys?api-version=7.6"
    assert server.session().get(path).status_code == 200
    assert server.session(server.token("vault")).get(path).status_code == 401
    header, payload, signature = server.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["oid"] = "00000000-0000-0000-0000-000000000001"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    for token in f"{header}.{forged}.{signature}", f"{none}.{payload}.", f"{header}.{payload}.", "x", "a.b.c":
        answer = server.session(token).get(path)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer authorization="), token


@pytest.mark.parametrize("tenant", ["{guid}", "organizations", "common"])
def test_discovery_documents(server, tenant):
    tenant = tenant.format(guid=server.env["STRONGROOM_TENANT_ID"])
    base = server.env["AZURE_AUTHORITY_HOST"]
    document = requests.get(f"{base}/{tenant}/v2.0/.well-known/openid-configuration", verify=server.env["STRONGROOM_CA"],
                            timeout=10).json()
    keys = requests.get(document["jwks_uri"], verify=server.env["STRONGROOM_CA"], timeout=10).json()["keys"]
    assert document["token_endpoint"].startswith(base) and keys[0]["kty"] == "RSA" and "d" not in keys[0]
