"""What a client can see of Azure's managed HSM beyond the description: odd addresses, headers, defaults, and more of the SDK."""

import asyncio
import base64
import datetime
import hashlib
import json
import time
import uuid

import pytest
import requests
from azure.identity import CertificateCredential, DefaultAzureCredential, WorkloadIdentityCredential
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential
from azure.keyvault.administration.aio import KeyVaultAccessControlClient as AsyncAccessControlClient
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.aio import KeyClient as AsyncKeyClient
from azure.keyvault.keys.crypto import CryptographyClient
from azure.keyvault.keys.crypto.aio import CryptographyClient as AsyncCryptographyClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

V = "api-version=7.6"
ROLES = "/providers/Microsoft.Authorization"
CRYPTO_USER = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/21dbd100-6940-42c2-9190-5d6cb909625b"
DIGEST = base64.urlsafe_b64encode(hashlib.sha256(b"text").digest()).rstrip(b"=").decode()


class Raw:
    """Requests as they are typed; `requests` would tidy up the path."""

    def __init__(self, server):
        self.server, self.session = server, server.session()

    def __call__(self, method, path, body=None, **options):
        return self.session.request(method, self.server.hsm + path, json=body, timeout=20, **options)

    def create(self, kty="EC", **more):
        name = "fid-" + uuid.uuid4().hex[:10]
        answer = self("POST", f"/keys/{name}/create?{V}", {"kty": kty, **more})
        assert answer.status_code == 200, answer.text
        return name, answer.json()


@pytest.fixture(scope="module")
def raw(server):
    return Raw(server)


def refused(answer, status, code, inner=None):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error.get("innererror", {}).get("code")) == (code, inner), error
    assert error["message"].endswith(f" (Activity ID: {answer.headers['x-ms-request-id']})")
    return error["message"]


def test_headers_of_answers_errors_and_challenges(server, raw):
    answer = raw("GET", f"/keys?{V}")
    for name, value in {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-cache",
                        "X-Frame-Options": "SAMEORIGIN", "X-Content-Type-Options": "nosniff",
                        "Content-Security-Policy": "default-src 'self'"}.items():
        assert answer.headers[name] == value
    for name in "x-ms-request-id", "x-ms-server-latency", "x-ms-keyvault-region", "x-ms-keyvault-network-info", \
            "x-ms-build-version", "Strict-Transport-Security":
        assert answer.headers[name]
    error = raw("GET", f"/keys/none?{V}")
    assert "x-ms-keyvault-region" not in error.headers and "x-ms-keyvault-network-info" not in error.headers
    for method, path in ("POST", f"/keys/x/create?{V}"), ("GET", "/nowhere"), ("PUT", "/keys"):
        challenge = requests.request(method, server.hsm + path, verify=server.env["STRONGROOM_CA"], timeout=10)
        assert (challenge.status_code, challenge.content) == (401, b"")
        port = server.port
        assert challenge.headers["WWW-Authenticate"] == (
            f'Bearer authorization="https://login.localhost:{port}/{server.env["STRONGROOM_TENANT_ID"]}", '
            f'resource="https://managedhsm.localhost:{port}"')


@pytest.mark.parametrize("version", [
    "2015-06-01", "2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01", "7.5-preview.1",
    "7.6-preview.1", "7.6-preview.2", "2025-06-01-preview", "2026-01-01-preview", "2026-03-01-preview", "2026-05-01-preview",
    "2026-07-01-preview"])
def test_every_version_is_taken(raw, version):
    assert raw("GET", f"/keys?api-version={version}").status_code == 200


@pytest.mark.parametrize("query", ["", "api-version=", "api-version=nope", "api-version=7", "Api=7.6"])
def test_other_versions_are_not(raw, query):
    refused(raw("GET", f"/keys?{query}"), 400, "BadParameter")


def test_odd_addresses_lead_to_the_same_key(raw):
    name, made = raw.create()
    version = made["key"]["kid"].rsplit("/", 1)[1]
    for path in f"/keys/{name}/", f"/keys/{name.upper()}", f"//keys//{name}//{version}/", f"/keys/{name}/{version.upper()}":
        assert raw("GET", f"{path}?{V}").json()["key"]["kid"] == made["key"]["kid"], path
    assert raw("GET", f"/keys/{name}/?api%2Dversion=7.6").status_code == 200
    assert raw("POST", f"/keys/{name}?{V}", headers={"X-HTTP-METHOD": "GET"}).json() == made
    changed = raw("PATCH", f"/keys/{name}/?{V}", {"tags": {"a": "b"}})
    assert changed.json()["tags"] == {"a": "b"} and changed.json()["key"] == made["key"]
    assert raw("POST", f"/keys/{name}//sign?{V}", {"alg": "ES256", "value": DIGEST}).json()["kid"] == made["key"]["kid"]


@pytest.mark.parametrize(("kty", "answered", "operations"), [
    ("RSA", "RSA-HSM", {"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}), ("EC", "EC-HSM", {"sign", "verify"}),
    ("oct", "oct-HSM", {"encrypt", "decrypt", "wrapKey", "unwrapKey"})])
def test_defaults_of_a_key(raw, kty, answered, operations):
    name, made = raw.create(kty)
    assert made["key"]["kty"] == answered and set(made["key"]["key_ops"]) == operations
    assert {name: made["attributes"][name] for name in ("enabled", "exportable", "hsmPlatform", "recoverableDays", "recoveryLevel")} \
        == {"enabled": True, "exportable": False, "hsmPlatform": "0", "recoverableDays": 90, "recoveryLevel": "Recoverable+Purgeable"}
    assert list(made) == sorted(made) and list(made["key"]) == sorted(made["key"]) and "tags" not in made
    if kty == "oct":
        newest = raw("GET", f"/keys/{name}?api-version=2026-04-01").json()
        assert newest["attributes"]["key_size"] == 256 and "k" not in newest["key"]
    if kty == "EC":
        assert made["key"]["crv"] == "P-256"


def test_names_and_tags_at_their_limits(raw):
    long = uuid.uuid4().hex + "n" * 95
    assert raw("POST", f"/keys/{long}/create?{V}", {"kty": "EC"}).json()["key"]["kid"].split("/")[4] == long
    refused(raw("POST", f"/keys/{long}n/create?{V}", {"kty": "EC"}), 400, "BadParameter")
    raw.create(tags={f"{n:0256}": "v" * 256 for n in range(15)})
    for tags in {str(n): "" for n in range(16)}, {"n" * 257: ""}, {"n": "v" * 257}:
        refused(raw("POST", f"/keys/x/create?{V}", {"kty": "EC", "tags": tags}), 400, "BadParameter")


def test_lists_and_their_links(raw):
    name, _ = raw.create()
    for _ in range(4):
        raw("POST", f"/keys/{name}/create?{V}", {"kty": "EC"})
    seen, link = [], f"{raw.server.hsm}/keys/{name}/versions?{V}&maxresults=2"
    while link:
        page = raw.session.get(link, timeout=10).json()
        seen += [item["kid"] for item in page["value"]]
        link = page["nextLink"]
        assert link is None or link.startswith(f"https://demo.managedhsm.localhost:{raw.server.port}/keys/{name}/versions?")
    assert len(set(seen)) == len(seen) == 5
    link = raw("GET", f"/keys/{name}/versions?{V}&maxresults=2").json()["nextLink"]
    token = link.split("$skiptoken=")[1].split("&")[0]
    twisted = token[:9] + ("A" if token[9] != "A" else "B") + token[10:]
    for bad in f"/keys/{name}/versions?{V}&$skiptoken={twisted}", f"/keys?{V}&$skiptoken={token}", \
            f"/keys?{V}&maxresults=0", f"/keys?{V}&maxresults=26", f"/keys?{V}&maxresults=two":
        refused(raw("GET", bad), 400, "BadParameter")
    assert raw("GET", f"/keys?{V}&maxresults=").status_code == 200
    assert all(len(item["kid"].split("/")) == 5 for item in raw("GET", f"/keys?{V}").json()["value"])


def test_a_key_deleted_recovered_and_purged(raw):
    name, made = raw.create(tags={"a": "b"})
    deleted = raw("DELETE", f"/keys/{name}?{V}").json()
    assert deleted["recoveryId"] == f"{raw.server.hsm}/deletedkeys/{name}" and deleted["key"] == made["key"]
    assert deleted["scheduledPurgeDate"] - deleted["deletedDate"] == 90 * 86400
    assert raw("GET", f"/deletedkeys/{name}?{V}").json() == deleted
    items = [item for item in raw("GET", f"/deletedkeys?{V}").json()["value"] if item["kid"].endswith(f"/keys/{name}")]
    assert [set(item) for item in items] == [{"attributes", "deletedDate", "kid", "recoveryId", "scheduledPurgeDate", "tags"}]
    assert f"(name/id) {name} was not found" in refused(raw("GET", f"/keys/{name}?{V}"), 404, "KeyNotFound")
    for again in ("POST", f"/keys/{name}/create", {"kty": "EC"}), ("PUT", f"/keys/{name}", {"key": {"kty": "oct", "k": DIGEST}}):
        text = refused(raw(again[0], f"{again[1]}?{V}", again[2]), 409, "Conflict", "ObjectIsDeletedButRecoverable")
        assert text.startswith(f"Key {name} is currently in a deleted but recoverable state")
    assert raw("POST", f"/deletedkeys/{name}/recover?{V}").json() == made
    raw("DELETE", f"/keys/{name}?{V}")
    purged = raw("DELETE", f"/deletedkeys/{name}?{V}")
    assert (purged.status_code, purged.content) == (204, b"")
    assert refused(raw("GET", f"/deletedkeys/{name}?{V}"), 404, "KeyNotFound").startswith(f"Deleted Key not found: {name}")


def test_the_dates_of_a_key_decide_what_it_does(raw):
    """The matrix of all six operations: disabled, not yet valid, expired."""
    now = int(time.time())
    rsa_name, _ = raw.create("RSA", key_ops=["sign", "verify", "encrypt", "decrypt", "wrapKey", "unwrapKey"])

    def use(operation, body):
        return raw("POST", f"/keys/{rsa_name}//{operation}?{V}", body)

    oaep = {"alg": "RSA-OAEP-256", "value": DIGEST}
    signature = use("sign", {"alg": "RS256", "value": DIGEST}).json()["value"]
    secret = {"alg": "RSA-OAEP-256", "value": use("encrypt", oaep).json()["value"]}
    uses = {"encrypt": oaep, "wrapkey": oaep, "decrypt": secret, "unwrapkey": secret,
            "sign": {"alg": "RS256", "value": DIGEST}, "verify": {"alg": "RS256", "digest": DIGEST, "value": signature}}
    for attributes, allowed, inner in (
            ({"enabled": False}, {"encrypt", "wrapkey", "verify"}, "KeyDisabled"),
            ({"enabled": True, "nbf": now + 1000}, {"decrypt", "unwrapkey", "verify"}, "KeyNotYetValid"),
            ({"nbf": now - 1000, "exp": now - 500}, {"decrypt", "unwrapkey", "verify"}, "KeyExpired"),
            ({"exp": now + 1000}, set(uses), None)):
        assert raw("PATCH", f"/keys/{rsa_name}/?{V}", {"attributes": attributes}).status_code == 200
        for operation, body in uses.items():
            answer = use(operation, body)
            if operation in allowed:
                assert answer.status_code == 200, (attributes, operation, answer.text)
            else:
                refused(answer, 403, "Forbidden", inner)
        assert raw("GET", f"/keys/{rsa_name}?{V}").status_code == 200


def test_the_rules_of_rotation(raw):
    name, _ = raw.create()
    path = f"/keys/{name}/rotationpolicy?{V}"
    assert raw("GET", path).json() == {"attributes": {}, "id": f"{raw.server.hsm}/keys/{name}/rotationpolicy", "lifetimeActions": []}

    def policy(trigger, expiry=None, kind="rotate"):
        return {"lifetimeActions": [{"trigger": trigger, "action": {"type": kind}}], "attributes": {"expiryTime": expiry}}

    set_ = raw("PUT", path, policy({"timeAfterCreate": "P28D"}, "P2Y")).json()
    assert set_["lifetimeActions"] == [{"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P28D"}}]
    assert set(set_["attributes"]) == {"created", "expiryTime", "updated"} and raw("GET", path).json() == set_
    for bad in policy({"timeAfterCreate": "P27D"}), policy({"timeBeforeExpiry": "P30D"}), policy({"timeBeforeExpiry": "P3D"}, "P30D"), \
            policy({"timeAfterCreate": "P90D"}, kind="Notify"), policy({"timeAfterCreate": "soon"}), policy({}, "P90D"):
        text = refused(raw("PUT", path, bad), 400, "BadParameter")
        assert "9223372036854775807" not in text
    assert "(in days) must be at least 28." in refused(raw("PUT", path, policy({"timeAfterCreate": "P90D"}, "P27D")), 400, "BadParameter")
    rotated = raw("POST", f"/keys/{name}/rotate?{V}").json()
    assert rotated["attributes"]["exp"] - rotated["attributes"]["created"] >= 729 * 86400
    assert len(raw("GET", f"/keys/{name}/versions?{V}").json()["value"]) == 2


def test_random_bytes_and_lengths(raw):
    for count in 1, 128:
        value = raw("POST", f"/rng?{V}", {"count": count}).json()["value"]
        assert len(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))) == count and "=" not in value
    for count in 0, 129, -1:
        assert refused(raw("POST", f"/rng?{V}", {"count": count}), 400, "BadParameter").startswith(
            "GetRandomBytesRequest: count cannot be greater than 128 or less than 1")
    name, _ = raw.create()
    assert "must be 32." in refused(raw("POST", f"/keys/{name}//sign?{V}", {"alg": "ES256", "value": "AA"}), 400, "BadParameter")


def test_hsm_false_is_still_an_hsm_key(raw):
    name = "fid-" + uuid.uuid4().hex[:10]
    made = raw("PUT", f"/keys/{name}?{V}", {"Hsm": False, "key": {"kty": "oct", "k": DIGEST, "key_ops": ["encrypt"]}}).json()
    assert made["key"]["kty"] == "oct-HSM" and made["key"]["key_ops"] == ["encrypt"]


def test_role_assignments_at_every_spelling_of_a_scope(raw):
    name, _ = raw.create()
    guid, principal = str(uuid.uuid4()), str(uuid.uuid4())
    body = {"properties": {"principalId": principal, "roleDefinitionId": CRYPTO_USER}}
    made = raw("PUT", f"/%2Fkeys%2F{name}{ROLES}/roleAssignments/{guid}?{V}", body)
    assert made.status_code == 201
    assert made.json() == {
        "id": f"/keys/{name}{ROLES}/roleAssignments/{guid}", "name": guid, "type": "Microsoft.Authorization/roleAssignments",
        "properties": {"principalId": principal, "roleDefinitionId": CRYPTO_USER, "scope": f"/keys/{name}"}}
    assert raw("PUT", f"/keys/{name}{ROLES}/roleAssignments/{guid}?{V}", body).json() == made.json()
    body["properties"]["principalId"] = str(uuid.uuid4())
    refused(raw("PUT", f"/keys/{name}{ROLES}/roleAssignments/{guid}?{V}", body), 409, "RoleAssignmentExists")
    for scope in "", "/", "//":
        found = raw("GET", f"{scope}{ROLES}/roleAssignments?{V}&$filter=principalId eq '{principal}'")
        assert found.status_code == 200, found.text
    found = raw("GET", f"/keys/{name}{ROLES}/roleAssignments?{V}&$filter=principalId eq '{principal}'").json()["value"]
    assert [one["name"] for one in found] == [guid]
    assert raw("DELETE", f"/keys/{name}{ROLES}/roleAssignments/{guid}?{V}").json() == made.json()
    assert refused(raw("GET", f"/keys/{name}{ROLES}/roleAssignments/{guid}?{V}"), 404, "RoleAssignmentNotFound").startswith(
        "Requested role assignment not found")
    refused(raw("GET", f"{ROLES}/roleAssignments?{V}&$filter=other"), 400, "BadParameter")


def test_generic_creation_and_the_private_key_adapters(server):
    client = KeyClient(server.env["STRONGROOM_HSM_URL"], DefaultAzureCredential())
    key = client.create_key("fid-" + uuid.uuid4().hex[:10], "RSA-HSM", size=2048)
    private = CryptographyClient(key, DefaultAzureCredential()).create_rsa_private_key()
    signature = private.sign(b"text", padding.PKCS1v15(), hashes.SHA256())
    private.public_key().verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert private.decrypt(private.public_key().encrypt(b"secret", oaep), oaep) == b"secret"
    poller = client.begin_delete_key(key.name)
    assert poller.result().name == key.name and (poller.wait() or poller.status() == "finished")
    recovery = client.begin_recover_deleted_key(key.name)
    recovery.wait()
    assert recovery.result().id == key.id


def test_the_asynchronous_clients(server):
    async def run():
        env = server.env
        credential = AsyncClientSecretCredential(env["STRONGROOM_TENANT_ID"], env["AZURE_CLIENT_ID"], env["AZURE_CLIENT_SECRET"])
        url = env["STRONGROOM_HSM_URL"]
        async with credential, AsyncKeyClient(url, credential) as keys, AsyncAccessControlClient(url, credential) as access:
            key = await keys.create_ec_key("fid-" + uuid.uuid4().hex[:10], hardware_protected=True)
            async with AsyncCryptographyClient(key.id, credential) as crypto:
                digest = hashlib.sha256(b"text").digest()
                signed = await crypto.sign("ES256", digest)
                assert (await crypto.verify("ES256", digest, signed.signature)).is_valid
            assert key.name in [item.name async for item in keys.list_properties_of_keys()]
            assert len([role async for role in access.list_role_definitions("/")]) >= 9
            deleted = await keys.delete_key(key.name)
            assert deleted.recovery_id
            assert (await keys.recover_deleted_key(key.name)).id == key.id
            assert len(await keys.get_random_bytes(16)) == 16
    asyncio.run(run())


def test_certificate_and_federated_credentials(own_server, tmp_path):
    """The principals' certificate and other issuer are written into the directory file, as an administrator would."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()) \
        .serial_number(1).not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1)) \
        .sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    both = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + pem

    def text(number):
        return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()

    numbers = key.public_key().public_numbers()
    jwks = json.dumps({"keys": [{"kty": "RSA", "kid": "one", "alg": "RS256", "n": text(numbers.n), "e": text(numbers.e)}]})
    directory = own_server.folder / "home" / "identity" / "directory.toml"
    known = directory.read_text()
    first, rest = known.split("[[application.secret]]", 1)
    directory.write_text(f"{first}[[application.certificate]]\npem = '''\n{pem.decode()}'''\n\n[[application.federated_credential]]\n"
                         f"issuer = 'https://cluster.test'\nsubject = 'pod'\njwks = '{jwks}'\n\n[[application.secret]]{rest}")
    own_server.stop()
    own_server.start()
    env = own_server.env
    url, tenant, client = env["STRONGROOM_HSM_URL"], env["STRONGROOM_TENANT_ID"], env["AZURE_CLIENT_ID"]
    authority = {"authority": env["AZURE_AUTHORITY_HOST"], "disable_instance_discovery": True}
    for more in {}, {"send_certificate_chain": True}:
        credential = CertificateCredential(tenant, client, certificate_data=both, **authority, **more)
        assert len(KeyClient(url, credential).get_random_bytes(8)) == 8

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "RS256", "kid": "one", "typ": "JWT"}) + b"." + part({
        "iss": "https://cluster.test", "sub": "pod", "aud": "api://AzureADTokenExchange", "iat": int(time.time()),
        "nbf": int(time.time()) - 5, "exp": int(time.time()) + 600})
    signature = base64.urlsafe_b64encode(key.sign(signed, padding.PKCS1v15(), hashes.SHA256())).rstrip(b"=")
    (tmp_path / "token").write_bytes(signed + b"." + signature + b"\n")
    credential = WorkloadIdentityCredential(tenant_id=tenant, client_id=client, token_file_path=str(tmp_path / "token"), **authority)
    assert len(KeyClient(url, credential).get_random_bytes(8)) == 8
