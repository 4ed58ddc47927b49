"""Schemathesis makes requests of Azure's own API description; answers are judged as in ../python/test_openapi.py."""

import json
import os
import pathlib
import sys

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
from conftest import Server, count  # noqa: E402
from test_openapi import SPEC, VERSION, check, schema  # noqa: E402

EXAMPLES = 10 * int(os.environ.get("STRONGROOM_ROUNDS", "1"))
SECONDS = 30  # RSA keys of 4096 bits take a while.


def plain(node):
    """The description without Azure's extensions: schemathesis follows their references and does not find the files."""
    if isinstance(node, dict):
        return {name: plain(value) for name, value in node.items() if not name.startswith("x-ms-")}
    return [plain(value) for value in node] if isinstance(node, list) else node


def operations():
    if not SPEC.is_dir():
        return
    for file in "keys", "administration":
        spec = json.loads((SPEC / f"{file}.json").read_text())
        described = schemathesis.from_dict(plain(spec), base_url="https://nowhere.invalid", validate_schema=False)
        for found in described.get_all_operations():
            operation = found.ok()
            raw = spec["paths"][operation.path][operation.method]
            answers = {int(code): schema(spec, answer["schema"], True) if "schema" in answer else None
                       for code, answer in raw["responses"].items() if code.isdigit()}
            yield pytest.param(operation, answers, id=f"{operation.method.upper()} {operation.path}")


@pytest.fixture(scope="module")
def server():
    running = Server().start()
    yield running
    assert running.stop() == 0, running.log.read_text()[-4000:]
    running.close()


@pytest.fixture(scope="module")
def token(server):
    return server.token()


@pytest.mark.skipif(not SPEC.is_dir(), reason=f"NO API DESCRIPTION: {SPEC} is absent (set STRONGROOM_SHARED)")
def test_the_description_is_read():
    assert len(list(operations())) > 40


@pytest.mark.parametrize(("operation", "answers"), operations())
def test_operation(server, token, operation, answers):
    asked = 0

    @seed(20260401)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def run(case):
        nonlocal asked
        case.query = {**(case.query or {}), "api-version": VERSION}
        headers = {"Authorization": "Bearer " + token}
        answer = case.call(base_url=server.hsm, headers=headers, verify=server.env["STRONGROOM_CA"], timeout=SECONDS)
        asked += 1
        check(answer, answers, f"{case.method} {case.formatted_path} {case.body!r:.2000}")

    run()
    count("schemathesis: requests", asked)
