"""Azure's own API description as judge: generated requests, well-formed and bent, and answers checked against its schemas."""

import json
import os
import pathlib
import uuid

import pytest
from conftest import ROOT, count
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st
from jsonschema import Draft4Validator

SHARED = pathlib.Path(os.environ.get("STRONGROOM_SHARED", ROOT.parent / "shared"))
SPEC = SHARED / "spec" / "data-plane" / "stable" / "2026-04-01"
VERSION = "2026-04-01"
EXAMPLES = 60 * int(os.environ.get("STRONGROOM_ROUNDS", "1"))
SECONDS = 20  # RSA keys of 4096 bits take a while.
ASKED = {}  # How often, by operation.
SUCCEEDED = {}  # How often, by operation.
ROLES = "/{scope}/providers/Microsoft.Authorization"
ONE, VERSION_OF = "/keys/{key-name}", "/keys/{key-name}/{key-version}"
WORKS = [
    "GET /keys", "GET /deletedkeys", "GET /deletedkeys/{key-name}", "POST /deletedkeys/{key-name}/recover",
    "DELETE /deletedkeys/{key-name}", f"POST {ONE}/create", f"PUT {ONE}", f"DELETE {ONE}", f"POST {ONE}/rotate",
    f"GET {ONE}/versions", f"GET {ONE}/rotationpolicy", f"PUT {ONE}/rotationpolicy", f"GET {VERSION_OF}", f"PATCH {VERSION_OF}",
    *(f"POST {VERSION_OF}/{operation}" for operation in ("sign", "verify", "encrypt", "wrapkey")), "POST /rng",
    f"GET {ROLES}/roleAssignments", f"PUT {ROLES}/roleAssignments/{{roleAssignmentName}}", f"GET {ROLES}/roleDefinitions",
    f"GET {ROLES}/roleDefinitions/{{roleDefinitionName}}", f"PUT {ROLES}/roleDefinitions/{{roleDefinitionName}}",
]
GUID = "11111111-2222-3333-4444-555555555555"
CRYPTO_USER = "21dbd100-6940-42c2-9190-5d6cb909625b"
DEFINITION = f"Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{CRYPTO_USER}"
GOOD = {  # Bodies that chance would hardly find, by the last part of the path.
    "create": [{"kty": "EC"}, {"kty": "oct-HSM", "key_size": 128}, {"kty": "RSA", "tags": {"a": "b"}}],
    "{key-version}": [{"attributes": {"enabled": True}}, {"tags": {}}],
    "rotationpolicy": [{"lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Rotate"}}]}],
    "{roleDefinitionName}": [{"properties": {"roleName": "generated", "permissions": [{"dataActions": []}]}}],
    "sign": [{"alg": "ES256", "value": "A" * 43}, {"alg": "RS256", "value": "A" * 43}],
    "verify": [{"alg": "ES256", "digest": "A" * 43, "value": "A" * 86}],
    "encrypt": [{"alg": "A256GCM", "value": "AA"}, {"alg": "RSA-OAEP-256", "value": "AA"}],
    "wrapkey": [{"alg": "A256KW", "value": "A" * 43}, {"alg": "RSA-OAEP-256", "value": "A" * 43}],
    "{key-name}": [{"key": {"kty": "oct", "k": "A" * 43, "key_ops": []}}],
    "{roleAssignmentName}": [{"properties": {"principalId": GUID, "roleDefinitionId": DEFINITION}}],
}
USES = ("/sign", "/verify", "/encrypt", "/decrypt", "/wrapkey", "/unwrapkey")
KEYS = {"rsa": {"kty": "RSA-HSM"}, "ec": {"kty": "EC-HSM"}, "oct": {"kty": "oct-HSM", "key_size": 256}}


def schema(spec, node, answer):
    """A Swagger 2.0 schema as JSON Schema, references resolved, to a depth at which errors no longer nest."""
    def walk(node, depth):
        if isinstance(node, list):
            return [walk(item, depth) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            if depth > 8:
                return {}
            return walk(spec["definitions"][node["$ref"].rsplit("/", 1)[1]], depth + 1)
        out = {name: walk(value, depth) for name, value in node.items()
               if name in ("type", "properties", "required", "items", "additionalProperties", "allOf",
                           "minimum", "maximum", "minLength", "maxLength", "maxItems", "minItems", "pattern")}
        if isinstance(node.get("properties"), dict):
            out["properties"] = {name: walk(value, depth) for name, value in node["properties"].items()}
        if "enum" in node and not (node.get("x-ms-enum") or {}).get("modelAsString"):
            out["enum"] = node["enum"]
        elif "enum" in node and not answer:
            out = {"anyOf": [{"enum": node["enum"]}, {"type": "string", "maxLength": 12}]}
        if answer and "properties" in out:
            out.setdefault("additionalProperties", False)
        if answer and isinstance(out.get("type"), str):
            out["type"] = [out["type"], "null"]
        return out
    return walk(node, 0)


def operations():
    if not SPEC.is_dir():
        return []
    found = []
    for file in "keys", "administration":
        spec = json.loads((SPEC / f"{file}.json").read_text())
        for path, methods in spec["paths"].items():
            for method, operation in methods.items():
                body = next((p["schema"] for p in operation.get("parameters", []) if p.get("in") == "body"), None)
                answers = {int(code): schema(spec, answer["schema"], True) if "schema" in answer else None
                           for code, answer in operation["responses"].items() if code.isdigit()}
                request = schema(spec, body, False) if body else None
                found.append(pytest.param(method, path, request, answers, id=f"{method.upper()} {path}"))
    return found


@pytest.fixture(scope="module")
def session(server):
    session = server.session()
    for kind, body in KEYS.items():
        make(server, session, f"openapi-{kind}", body)
    return session


def make(server, session, name, body):
    made = session.post(f"{server.hsm}/keys/{name}/create?api-version={VERSION}", json=body, timeout=SECONDS)
    assert made.status_code == 200, made.text
    return name


def spare(server, session, method, path):
    """Keys of the operation's own when it changes keys, deleted ones when it wants those; else the common ones."""
    if not path.startswith("/deletedkeys/") and method == "get" or path.endswith(USES):
        return [f"openapi-{kind}" for kind in KEYS] * 3
    names = [make(server, session, f"openapi-{uuid.uuid4().hex}", KEYS["ec"]) for _ in range(4)]
    if path.startswith("/deletedkeys/"):
        for name in names:
            assert session.delete(f"{server.hsm}/keys/{name}?api-version={VERSION}", timeout=SECONDS).status_code == 200
    return names


def segment(name, keys):
    if name == "scope":
        return st.sampled_from(["", "", "/", "keys", "keys/openapi-ec", "%2Fkeys%2Fopenapi-rsa", "elsewhere"])
    if name in ("key-name", "keyName"):
        return st.sampled_from([*keys, "openapi-other", "under_score", "a%20b"])
    if name == "key-version":
        return st.sampled_from(["", "", "", "0" * 32, "short"])
    return st.sampled_from([GUID, CRYPTO_USER, "odd"])


def check(answer, answers, what):
    assert answer.status_code < 500, (what, answer.text)
    if answer.status_code in answers:
        shape = answers[answer.status_code]
        if shape is None:
            assert answer.content == b"", what
            return
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8", what
        problems = [f"{'/'.join(map(str, p.path))}: {p.message[:200]}" for p in Draft4Validator(shape).iter_errors(answer.json())]
        assert not problems, (what, problems)
        return
    assert 400 <= answer.status_code, (what, answer.status_code, answer.text)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8", what
    error = answer.json()
    assert set(error) == {"error"} and {"code", "message"} <= set(error["error"]) <= {"code", "message", "innererror"}, what
    assert all(isinstance(error["error"][member], str) and error["error"][member] for member in ("code", "message")), what
    assert error["error"]["message"].endswith(f"(Activity ID: {answer.headers['x-ms-request-id']})"), what


@pytest.mark.skipif(not SPEC.is_dir(), reason=f"NO API DESCRIPTION: {SPEC} is absent (set STRONGROOM_SHARED)")
def test_the_description_is_read():
    assert len(operations()) > 40


@pytest.mark.parametrize(("method", "path", "request_shape", "answers"), operations())
def test_operation(server, session, method, path, request_shape, answers):
    keys = spare(server, session, method, path)
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    bodies = st.just(None) if request_shape is None else st.one_of(
        st.sampled_from(GOOD.get(path.rsplit("/", 1)[1], [{}])), well_formed(request_shape), bent(request_shape))

    operation = f"{method.upper()} {path}"

    @seed(20260401)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(st.fixed_dictionaries({name: segment(name, keys) for name in names}), bodies)
    def run(values, body):
        url = path
        for name, value in values.items():
            url = url.replace("{" + name + "}", value)
        text = None if request_shape is None else json.dumps(body)
        answer = session.request(method, f"{server.hsm}{url}?api-version={VERSION}", data=text, timeout=SECONDS,
                                 headers={"Content-Type": "application/json"})
        if answer.status_code in answers:
            SUCCEEDED[operation] = SUCCEEDED.get(operation, 0) + 1
        ASKED[operation] = ASKED.get(operation, 0) + 1
        check(answer, answers, f"{method.upper()} {url} {text}")

    run()
    count("generated requests judged by the API description", ASKED.pop(operation))


TEXTS = st.one_of(st.sampled_from(["", "AA", GUID, DEFINITION, "A" * 43, "A" * 86, "P90D", "P2Y", "/", "EC", "RSA", "oct", "sign", "ES256"]),
                  st.text(max_size=20))
STRANGE = st.sampled_from([None, [], {}, "text", "\0", 1, -1, 1.5, 2**63, True, [None], {"unknown": 1}])


def well_formed(shape, value=st.nothing()):
    """Values of a schema, of the few kinds that the description uses; `value` may stand in for any member."""
    if "anyOf" in shape:
        return st.one_of(value, *(well_formed(one) for one in shape["anyOf"]))
    if "enum" in shape:
        return st.sampled_from(shape["enum"])
    match shape.get("type"):
        case "object" if "properties" in shape:
            members = {name: st.one_of(well_formed(member), value) for name, member in shape["properties"].items()}
            needed = {name: members.pop(name) for name in shape.get("required", [])}
            return st.fixed_dictionaries(needed, optional=members)
        case "object":
            return st.dictionaries(st.text(max_size=5), TEXTS, max_size=3)
        case "array":
            return st.lists(well_formed(shape.get("items", {})), max_size=3)
        case "integer":
            return st.one_of(st.sampled_from([0, 1, 128, 256, 2048, 4096, 65537]), st.integers(-(2**63), 2**64))
        case "boolean":
            return st.booleans()
        case "string":
            return TEXTS
    return STRANGE


def bent(shape):
    """Bodies with members of the wrong type, or which are no objects at all."""
    return st.one_of(well_formed(shape, STRANGE), well_formed(shape, STRANGE), STRANGE)


@pytest.mark.skipif(not SPEC.is_dir(), reason=f"NO API DESCRIPTION: {SPEC} is absent (set STRONGROOM_SHARED)")
def test_answers_were_judged_and_not_only_errors(request):
    """Runs behind the generated requests: each of these operations has worked at least once."""
    if not any("test_operation" in item.name for item in request.session.items):
        pytest.skip("the generated requests were not chosen")
    missing = [name for name in WORKS if not SUCCEEDED.get(name)]
    assert not missing, SUCCEEDED
