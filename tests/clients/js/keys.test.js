// The official JavaScript SDK against the running server that the environment names.

import assert from "node:assert/strict";
import { createHash, createPublicKey, publicEncrypt, constants, randomUUID, verify } from "node:crypto";
import { test } from "node:test";
import { ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential } from "@azure/identity";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";

const url = process.env.STRONGROOM_HSM_URL;
const credential = new DefaultAzureCredential();
const client = new KeyClient(url, credential);
const named = (prefix) => `${prefix}-${randomUUID()}`;
const digest = (hash) => createHash(hash).update("message").digest();
const base64url = (bytes) => Buffer.from(bytes).toString("base64url");
// An id without its key: every operation goes to the server.
const remote = (key) => new CryptographyClient(key.id, credential);

test("RSA keys sign and decrypt", async () => {
  const key = await client.createRsaKey(named("rsa"), { keySize: 2048, hsm: true });
  assert.equal(key.keyType, "RSA-HSM");
  const spki = createPublicKey({ key: { kty: "RSA", n: base64url(key.key.n), e: base64url(key.key.e) }, format: "jwk" });
  for (const algorithm of ["RS256", "PS256", "RS384", "PS384", "RS512", "PS512"]) {
    const hash = `sha${algorithm.slice(2)}`;
    const { result } = await remote(key).sign(algorithm, digest(hash));
    const padding = algorithm.startsWith("PS") ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
    assert.ok(verify(hash, Buffer.from("message"), { key: spki, padding }, result), algorithm);
  }
  const ciphertext = publicEncrypt({ key: spki, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" }, Buffer.from("plain"));
  const opened = await remote(key).decrypt({ algorithm: "RSA-OAEP-256", ciphertext });
  assert.equal(Buffer.from(opened.result).toString(), "plain");
});

test("EC keys sign", async () => {
  for (const [curve, algorithm, hash] of [["P-256", "ES256", "sha256"], ["P-384", "ES384", "sha384"], ["P-521", "ES512", "sha512"]]) {
    const key = await client.createEcKey(named("ec"), { curve, hsm: true });
    const { result } = await remote(key).sign(algorithm, digest(hash));
    const jwk = { kty: "EC", crv: curve, x: base64url(key.key.x), y: base64url(key.key.y) };
    const pub = createPublicKey({ key: jwk, format: "jwk" });
    assert.ok(verify(hash, Buffer.from("message"), { key: pub, dsaEncoding: "ieee-p1363" }, result), curve);
  }
});

test("oct keys encrypt, wrap and unwrap", async () => {
  const key = await client.createOctKey(named("oct"), { keySize: 256, hsm: true });
  const box = await remote(key).encrypt({ algorithm: "A256GCM", plaintext: Buffer.from("plain"), additionalAuthenticatedData: Buffer.from("a") });
  const opened = await remote(key).decrypt({
    algorithm: "A256GCM", ciphertext: box.result, iv: box.iv, authenticationTag: box.authenticationTag,
    additionalAuthenticatedData: Buffer.from("a"),
  });
  assert.equal(Buffer.from(opened.result).toString(), "plain");
  const secret = Buffer.alloc(32, 7);
  const wrapped = await remote(key).wrapKey("A256KW", secret);
  assert.deepEqual(Buffer.from((await remote(key).unwrapKey("A256KW", wrapped.result)).result), secret);
});

test("the life of a key: list, rotate, delete, recover, purge", async () => {
  const name = named("life");
  const first = await client.createEcKey(name, { hsm: true, tags: { a: "1" } });
  await client.updateKeyRotationPolicy(name, { lifetimeActions: [{ action: "Rotate", timeAfterCreate: "P30D" }], expiresIn: "P90D" });
  const second = await client.rotateKey(name);
  assert.notEqual(first.properties.version, second.properties.version);
  let names = [];
  for await (const properties of client.listPropertiesOfKeys()) names.push(properties.name);
  assert.ok(names.includes(name));
  let versions = 0;
  for await (const _ of client.listPropertiesOfKeyVersions(name)) versions += 1;
  assert.equal(versions, 2);
  const poller = await client.beginDeleteKey(name, { intervalInMs: 50 });
  await poller.pollUntilDone();
  const recover = await client.beginRecoverDeletedKey(name, { intervalInMs: 50 });
  await recover.pollUntilDone();
  assert.equal((await client.getKey(name, { version: first.properties.version })).properties.tags.a, "1");
  await (await client.beginDeleteKey(name, { intervalInMs: 50 })).pollUntilDone();
  await client.purgeDeletedKey(name);
  await assert.rejects(client.getDeletedKey(name), { statusCode: 404 });
  assert.equal((await client.getRandomBytes(16)).length, 16);
});

test("other ways in", async () => {
  const { STRONGROOM_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET } = process.env;
  const secret = new ClientSecretCredential(STRONGROOM_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, { disableInstanceDiscovery: true });
  for (const way of [secret, new ManagedIdentityCredential()]) {
    const { done } = await new KeyClient(url, way).listPropertiesOfKeys().next();
    assert.equal(typeof done, "boolean");
  }
});
