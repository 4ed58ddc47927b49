"""Tokens of a second issuer on loopback: role by object id, rotation, pulled keys, blocked principals."""

import base64
import datetime
import http.server
import ipaddress
import json
import ssl
import subprocess
import threading
import time
import uuid

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from conftest import BINARY, Server

TENANT, API = str(uuid.uuid4()), str(uuid.uuid4())
CRYPTO_USER = "21dbd100-6940-42c2-9190-5d6cb909625b"


class Issuer:
    """Discovery, keys and tokens of its own, over TLS with a certificate of its own authority."""

    def __init__(self, folder):
        self.keys, self.hits, self.broken = {}, [], False
        self.rotate("k1")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                       .serial_number(1).not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
                       .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
                       .sign(key, hashes.SHA256()))
        self.ca = folder / "issuer.pem"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = folder / "issuer.key"
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                              serialization.NoEncryption()))
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.hits.append(self.path)
                document = {"/t/v2.0/.well-known/openid-configuration": issuer.discovery, "/keys": issuer.key_set}.get(self.path)
                status = 500 if issuer.broken else 404 if document is None else 200
                body = json.dumps(document()).encode() if status == 200 else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, private)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def discovery(self):
        return {"issuer": f"{self.url}/t/v2.0", "jwks_uri": f"{self.url}/keys"}

    def key_set(self):
        keys = []
        for kid, key in self.keys.items():
            jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
            keys.append({**jwk, "kid": kid, "use": "sig", "issuer": "https://login.example/{tenantid}/v2.0"})
        return {"keys": keys}

    def rotate(self, kid):
        self.keys = {kid: rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    def token(self, oid, kid=None, **claims):
        kid = kid or next(iter(self.keys))
        now = int(time.time())
        base = {"iss": f"{self.url}/t/v2.0", "aud": API, "tid": TENANT, "oid": oid, "sub": oid, "azp": str(uuid.uuid4()),
                "azpacr": "1", "iat": now, "nbf": now, "exp": now + 3600, "ver": "2.0", "idtyp": "app"}
        return jwt.encode({**base, **claims}, self.keys[kid], "RS256", headers={"kid": kid})


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    running = Issuer(tmp_path_factory.mktemp("issuer"))
    yield running
    running.server.shutdown()


@pytest.fixture(scope="module")
def own(issuer, tmp_path_factory):
    settings = tmp_path_factory.mktemp("settings") / "issuers.toml"
    settings.write_text(f'[[issuers]]\nissuer = "{issuer.url}/t/v2.0"\ntenants = ["{TENANT}"]\nca_file = "{issuer.ca}"\n'
                        f'refresh_seconds = 10\n[issuers.audiences]\nmanaged_hsm = ["{API}"]\n')
    running = Server("--issuers", settings, "--runtimes", "1").start()
    yield running
    running.close()


def give_role(server, principal, role=CRYPTO_USER):
    url = f"{server.hsm}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=7.6"
    definition = f"Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{role}"
    body = {"properties": {"roleDefinitionId": definition, "principalId": principal}}
    assert server.session().put(url, json=body).status_code == 201


def status(server, token, path="/keys?api-version=7.6"):
    return server.session(token).get(server.hsm + path).status_code


def until(server, token, wanted):
    """The status once it is the wanted one; a change of a file or key set takes its stated time."""
    limit = time.monotonic() + 40
    while (seen := status(server, token)) != wanted:
        assert time.monotonic() < limit, seen
        time.sleep(0.2)


def test_a_role_for_an_object_id_lets_its_tokens_use_keys(own, issuer):
    principal, group = str(uuid.uuid4()), str(uuid.uuid4())
    until(own, issuer.token(principal), 403)
    give_role(own, principal)
    session = own.session(issuer.token(principal))
    made = session.post(f"{own.hsm}/keys/of-the-other/create?api-version=7.6", json={"kty": "EC-HSM", "crv": "P-256"})
    assert made.status_code == 200, made.text
    digest = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
    signed = session.post(f"{own.hsm}/keys/of-the-other/sign?api-version=7.6", json={"alg": "ES256", "value": digest})
    assert signed.status_code == 200, signed.text
    # By group, and not when the groups do not fit the token.
    member = str(uuid.uuid4())
    give_role(own, group)
    assert status(own, issuer.token(member, groups=[group])) == 200
    assert status(own, issuer.token(member, _claim_names={"groups": "src1"})) == 403
    assert "overage" in own.log.read_text()


def test_tokens_that_are_not_for_us_are_refused(own, issuer):
    principal = str(uuid.uuid4())
    until(own, issuer.token(principal), 403)
    for what, token in {
        "audience": issuer.token(principal, aud=f"https://vault.localhost:{own.port}"),
        "tenant": issuer.token(principal, tid=str(uuid.uuid4())),
        "issuer": issuer.token(principal, iss=f"{issuer.url}/other/v2.0"),
        "expired": issuer.token(principal, exp=int(time.time()) - 120),
        "a principal of the directory": issuer.token(own.env["STRONGROOM_OBJECT_ID"]),
        "an ID token": issuer.token(principal, at_hash="x"),
        "bound to a key": issuer.token(principal, cnf={"kid": "x"}),
    }.items():
        assert status(own, token) == 401, what


def test_a_new_key_is_asked_for_and_a_pulled_one_is_refused(own, issuer):
    principal = str(uuid.uuid4())
    old = issuer.token(principal)
    until(own, old, 403)
    issuer.rotate(f"k-{uuid.uuid4()}")
    until(own, issuer.token(principal), 403)
    assert status(own, old) == 401
    asked = len(issuer.hits)
    stranger = jwt.encode({"iss": f"{issuer.url}/t/v2.0"}, next(iter(issuer.keys.values())), "RS256", headers={"kid": "made-up"})
    for _ in range(50):
        assert status(own, stranger) == 401
    assert len(issuer.hits) - asked <= 8, "made-up keys do not make us ask each time"
    assert set(issuer.hits) <= {"/t/v2.0/.well-known/openid-configuration", "/keys"}


def test_a_silent_issuer_degrades_and_recovers(own, issuer):
    token = issuer.token(str(uuid.uuid4()))
    until(own, token, 403)
    issuer.broken = True
    limit = time.monotonic() + 40
    while (report := own.get("/readyz").json())["status"] != "degraded":
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert own.get("/readyz").status_code == 200 and "127.0.0.1" not in json.dumps(report)
    assert status(own, token) == 403, "the last keys still count"
    issuer.broken = False
    while own.get("/readyz").json()["status"] != "ready":
        assert time.monotonic() < limit + 40
        time.sleep(0.2)


def test_a_blocked_principal_is_refused_until_it_is_unblocked(own, issuer):
    principal = str(uuid.uuid4())
    token = issuer.token(principal)
    until(own, token, 403)
    directory = ["--directory", own.folder / "home" / "identity" / "directory.toml"]
    subprocess.run([BINARY, "principal", *directory, "block", principal], check=True, timeout=30)
    until(own, token, 401)
    assert principal in subprocess.run([BINARY, "principal", *directory, "list"], check=True, capture_output=True, text=True).stdout
    subprocess.run([BINARY, "principal", *directory, "unblock", principal], check=True, timeout=30)
    until(own, token, 403)
