"""The official Python SDK against the running server; results are checked by an independent library."""

import hashlib
import os
import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.keyvault.keys import KeyClient, KeyCurveName, KeyOperation, KeyRotationLifetimeAction, KeyRotationPolicy
from azure.keyvault.keys import KeyRotationPolicyAction, ApiVersion, JsonWebKey
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"P-256": ec.SECP256R1(), "P-256K": ec.SECP256K1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


@pytest.fixture(scope="module")
def credential(server):
    return DefaultAzureCredential()


@pytest.fixture(scope="module")
def client(server, credential):
    return KeyClient(server.env["STRONGROOM_HSM_URL"], credential)


def name(prefix="key"):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def remote(key, credential):
    """A client that computes nothing itself: every operation goes to the server."""
    crypto = CryptographyClient(key.id, credential)
    crypto._keys_get_forbidden = True
    return crypto


def public_rsa(key):
    return rsa.RSAPublicNumbers(int.from_bytes(key.key.e, "big"), int.from_bytes(key.key.n, "big")).public_key()


def public_ec(key):
    x, y = int.from_bytes(key.key.x, "big"), int.from_bytes(key.key.y, "big")
    return ec.EllipticCurvePublicNumbers(x, y, CURVES[key.key.crv]).public_key()


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_rsa_keys_sign_decrypt_and_unwrap(client, credential, size):
    key = client.create_rsa_key(name("rsa"), size=size, hardware_protected=True)
    assert key.key_type == "RSA-HSM" and len(key.key.n) * 8 == size
    crypto, public = remote(key, credential), public_rsa(key)
    for algorithm in SignatureAlgorithm.rs256, SignatureAlgorithm.rs384, SignatureAlgorithm.rs512, \
            SignatureAlgorithm.ps256, SignatureAlgorithm.ps384, SignatureAlgorithm.ps512:
        chosen = HASHES[algorithm.value[2:]]
        digest = hashlib.new(chosen.name, b"message").digest()
        signature = crypto.sign(algorithm, digest).signature
        scheme = padding.PKCS1v15() if algorithm.value.startswith("RS") else \
            padding.PSS(padding.MGF1(chosen), chosen.digest_size)
        public.verify(signature, digest, scheme, utils.Prehashed(chosen))
        assert crypto.verify(algorithm, digest, signature).is_valid
        assert not crypto.verify(algorithm, digest, bytes(len(signature))).is_valid
    oaep = lambda h: padding.OAEP(padding.MGF1(h), h, None)  # noqa: E731
    for algorithm, scheme in ((EncryptionAlgorithm.rsa1_5, padding.PKCS1v15()),
                              (EncryptionAlgorithm.rsa_oaep, oaep(hashes.SHA1())),
                              (EncryptionAlgorithm.rsa_oaep_256, oaep(hashes.SHA256()))):
        assert crypto.decrypt(algorithm, public.encrypt(b"plain", scheme)).plaintext == b"plain"
        assert crypto.decrypt(algorithm, crypto.encrypt(algorithm, b"plain").ciphertext).plaintext == b"plain"
    for algorithm in KeyWrapAlgorithm.rsa1_5, KeyWrapAlgorithm.rsa_oaep, KeyWrapAlgorithm.rsa_oaep_256:
        wrapped = crypto.wrap_key(algorithm, bytes(range(32))).encrypted_key
        assert crypto.unwrap_key(algorithm, wrapped).key == bytes(range(32))


@pytest.mark.parametrize("curve,algorithm", [("P-256", "ES256"), ("P-256K", "ES256K"), ("P-384", "ES384"), ("P-521", "ES512")])
def test_ec_keys_sign(client, credential, curve, algorithm):
    key = client.create_ec_key(name("ec"), curve=KeyCurveName(curve), hardware_protected=True)
    assert key.key_type == "EC-HSM" and key.key.crv == curve
    crypto = remote(key, credential)
    chosen = HASHES["256" if curve == "P-256K" else algorithm[2:]]
    digest = hashlib.new(chosen.name, b"message").digest()
    signature = crypto.sign(SignatureAlgorithm(algorithm), digest).signature
    half = len(signature) // 2
    der = utils.encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
    public_ec(key).verify(der, digest, ec.ECDSA(utils.Prehashed(chosen)))
    assert crypto.verify(SignatureAlgorithm(algorithm), digest, signature).is_valid
    assert not crypto.verify(SignatureAlgorithm(algorithm), digest, signature[:-1] + bytes([signature[-1] ^ 1])).is_valid


@pytest.mark.parametrize("size", [128, 192, 256])
def test_oct_keys_encrypt_and_wrap(client, credential, size):
    key = client.create_oct_key(name("oct"), size=size, hardware_protected=True)
    assert key.key_type == "oct-HSM" and key.key.k is None
    crypto = remote(key, credential)
    gcm = EncryptionAlgorithm(f"A{size}GCM")
    box = crypto.encrypt(gcm, b"plain", additional_authenticated_data=b"aad")
    assert len(box.iv) == 12 and len(box.tag) == 16
    opened = crypto.decrypt(gcm, box.ciphertext, iv=box.iv, authentication_tag=box.tag, additional_authenticated_data=b"aad")
    assert opened.plaintext == b"plain"
    with pytest.raises(HttpResponseError) as refused:
        crypto.decrypt(gcm, box.ciphertext, iv=box.iv, authentication_tag=bytes(16), additional_authenticated_data=b"aad")
    assert refused.value.status_code == 400
    for cipher, text in ((f"A{size}CBC", b"sixteen bytes ok"), (f"A{size}CBCPAD", b"any length")):
        iv = os.urandom(16)
        ciphertext = crypto.encrypt(EncryptionAlgorithm(cipher), text, iv=iv).ciphertext
        assert crypto.decrypt(EncryptionAlgorithm(cipher), ciphertext, iv=iv).plaintext == text
    wrapped = crypto.wrap_key(KeyWrapAlgorithm(f"A{size}KW"), bytes(range(32))).encrypted_key
    assert len(wrapped) == 40 and crypto.unwrap_key(KeyWrapAlgorithm(f"A{size}KW"), wrapped).key == bytes(range(32))
    wrapped = crypto.wrap_key("CKM_AES_KEY_WRAP_PAD", b"seven b").encrypted_key
    assert crypto.unwrap_key("CKM_AES_KEY_WRAP_PAD", wrapped).key == b"seven b"


def test_hmac_with_an_oct_key(server, client, credential):
    key = client.create_oct_key(name("mac"), size=256, key_operations=["sign", "verify"], hardware_protected=True)
    session, path = server.session(), key.id.removeprefix(server.hsm)
    digest = "A" * 42 + "A"
    for algorithm, length in (("HS256", 43), ("HS384", 64), ("HS512", 86)):
        body = {"alg": algorithm, "value": "A" * length}
        made = session.post(f"{server.hsm}{path}/sign?api-version=7.6", json=body)
        assert made.status_code == 200, made.text
        check = {"alg": algorithm, "digest": "A" * length, "value": made.json()["value"]}
        assert session.post(f"{server.hsm}{path}/verify?api-version=7.6", json=check).json() == {"value": True}
    assert len(digest) == 43


def test_imported_keys_are_the_keys_given(client, credential):
    secret = ec.generate_private_key(ec.SECP384R1())
    numbers = secret.private_numbers()
    size = 48
    jwk = JsonWebKey(kty="EC-HSM", crv="P-384", key_ops=["sign", "verify"], x=numbers.public_numbers.x.to_bytes(size, "big"),
                     y=numbers.public_numbers.y.to_bytes(size, "big"), d=numbers.private_value.to_bytes(size, "big"))
    key = client.import_key(name("imported"), jwk, hardware_protected=True)
    digest = hashlib.sha384(b"message").digest()
    signature = remote(key, credential).sign(SignatureAlgorithm.es384, digest).signature
    der = utils.encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
    secret.public_key().verify(der, digest, ec.ECDSA(utils.Prehashed(hashes.SHA384())))

    private = rsa.generate_private_key(65537, 2048)
    n = private.private_numbers()
    integer = lambda v: v.to_bytes((v.bit_length() + 7) // 8, "big")  # noqa: E731
    jwk = JsonWebKey(kty="RSA-HSM", key_ops=["decrypt", "encrypt"], n=integer(n.public_numbers.n), e=integer(65537),
                     d=integer(n.d), p=integer(n.p), q=integer(n.q), dp=integer(n.dmp1), dq=integer(n.dmq1), qi=integer(n.iqmp))
    key = client.import_key(name("imported"), jwk, hardware_protected=True)
    sealed = private.public_key().encrypt(b"plain", padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    assert remote(key, credential).decrypt(EncryptionAlgorithm.rsa_oaep_256, sealed).plaintext == b"plain"

    k = os.urandom(32)
    jwk = JsonWebKey(kty="oct-HSM", key_ops=["encrypt", "decrypt"], k=k)
    key = client.import_key(name("imported"), jwk, hardware_protected=True)
    box = remote(key, credential).encrypt(EncryptionAlgorithm.a256_gcm, b"plain", additional_authenticated_data=b"a")
    assert AESGCM(k).decrypt(box.iv, box.ciphertext + box.tag, b"a") == b"plain"


def test_life_of_a_key(client):
    named = name("life")
    first = client.create_ec_key(named, tags={"a": "1"}, enabled=True, hardware_protected=True)
    second = client.create_ec_key(named, hardware_protected=True)
    assert first.properties.version != second.properties.version
    assert client.get_key(named).properties.version == second.properties.version
    assert client.get_key(named, first.properties.version).properties.tags == {"a": "1"}
    assert {v.version for v in client.list_properties_of_key_versions(named)} == \
        {first.properties.version, second.properties.version}
    assert named in {k.name for k in client.list_properties_of_keys()}
    changed = client.update_key_properties(named, first.properties.version, tags={"b": "2"}, enabled=False)
    assert changed.properties.tags == {"b": "2"} and changed.properties.enabled is False
    deleted = client.begin_delete_key(named).result()
    assert deleted.recovery_id and deleted.scheduled_purge_date > deleted.deleted_date
    with pytest.raises(ResourceNotFoundError):
        client.get_key(named)
    with pytest.raises(ResourceExistsError) as conflict:
        client.create_ec_key(named, hardware_protected=True)
    assert conflict.value.status_code == 409
    assert named in {k.name for k in client.list_deleted_keys()}
    assert client.get_deleted_key(named).name == named
    client.begin_recover_deleted_key(named).result()
    assert client.get_key(named, first.properties.version).properties.tags == {"b": "2"}
    client.begin_delete_key(named).wait()
    client.purge_deleted_key(named)
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_key(named)
    fresh = client.create_ec_key(named, hardware_protected=True)
    assert [v.version for v in client.list_properties_of_key_versions(named)] == [fresh.properties.version]


def test_rotation_and_its_policy(client):
    named = name("rotate")
    first = client.create_rsa_key(named, size=2048, hardware_protected=True)
    action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P30D")
    policy = KeyRotationPolicy(lifetime_actions=[action], expires_in="P90D")
    set_policy = client.update_key_rotation_policy(named, policy)
    assert set_policy.expires_in == "P90D" and set_policy.id.endswith(f"/keys/{named}/rotationpolicy")
    got = client.get_key_rotation_policy(named)
    assert got.lifetime_actions[0].time_after_create == "P30D"
    second = client.rotate_key(named)
    assert second.properties.version != first.properties.version and second.key.n != first.key.n
    assert second.properties.expires_on is not None
    with pytest.raises(HttpResponseError) as refused:
        client.update_key_rotation_policy(named, KeyRotationPolicy(lifetime_actions=[
            KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P3D")]))
    assert refused.value.status_code == 400


def test_random_bytes(client):
    assert len(client.get_random_bytes(128)) == 128
    assert client.get_random_bytes(16) != client.get_random_bytes(16)
    with pytest.raises(HttpResponseError) as refused:
        client.get_random_bytes(129)
    assert refused.value.status_code == 400 and "count" in refused.value.message


def test_lists_are_complete_over_many_pages(client):
    names = {name("page") for _ in range(30)}
    for each in names:
        client.create_ec_key(each, hardware_protected=True)
    pages = list(client.list_properties_of_keys(max_page_size=7).by_page())
    listed = [key.name for page in pages for key in page]
    assert names <= set(listed) and len(listed) == len(set(listed))


@pytest.mark.parametrize("version", [v.value for v in ApiVersion])
def test_every_version_of_the_sdk(server, credential, version):
    client = KeyClient(server.env["STRONGROOM_HSM_URL"], credential, api_version=version)
    key = client.create_rsa_key(name("version"), size=2048, hardware_protected=True)
    assert client.get_key(key.name).key.n == key.key.n


def test_operations_outside_key_ops_are_refused(client, credential):
    key = client.create_rsa_key(name("ops"), size=2048, key_operations=[KeyOperation.sign, KeyOperation.verify],
                                hardware_protected=True)
    with pytest.raises(HttpResponseError) as refused:
        remote(key, credential).decrypt(EncryptionAlgorithm.rsa_oaep, bytes(256))
    assert refused.value.status_code == 403


def test_disabled_keys_verify_but_do_not_sign(client, credential):
    key = client.create_ec_key(name("off"), hardware_protected=True)
    digest = hashlib.sha256(b"m").digest()
    signature = remote(key, credential).sign(SignatureAlgorithm.es256, digest).signature
    client.update_key_properties(key.name, key.properties.version, enabled=False)
    with pytest.raises(HttpResponseError) as refused:
        remote(key, credential).sign(SignatureAlgorithm.es256, digest)
    assert refused.value.status_code == 403
    assert remote(key, credential).verify(SignatureAlgorithm.es256, digest, signature).is_valid


def test_errors_are_azures(server):
    session = server.session()
    missing = session.get(f"{server.hsm}/keys/nothing-here/?api-version=7.6")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "KeyNotFound"
    assert missing.headers["x-ms-request-id"] in missing.json()["error"]["message"]
    assert session.get(f"{server.hsm}/keys/x?api-version=1.0").status_code == 400
    assert session.get(f"{server.hsm}/keys/x").status_code == 400
    anonymous = server.get("/keys/x?api-version=7.6")
    assert anonymous.status_code == 401 and anonymous.content == b""
    challenge = anonymous.headers["WWW-Authenticate"]
    assert f'resource="https://managedhsm.localhost:{server.port}"' in challenge


def test_an_inactive_hsm_answers_the_challenge_and_refuses_the_rest(server):
    url = f"https://sleepy.managedhsm.localhost:{server.port}/keys?api-version=7.6"
    assert server.session().get(url).status_code == 403
    import requests
    assert requests.get(url, verify=server.env["STRONGROOM_CA"], timeout=10).status_code == 401


def test_public_keys_have_the_pem_they_should(client):
    key = client.create_ec_key(name("pem"), curve=KeyCurveName.p_521, hardware_protected=True)
    assert public_ec(key).public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
