"""What README and docs say is done here: Python snippets and the curl session run, every `strongroom` command is one that
there is, and each other block is listed below with the test that does the same or with the reason why none does."""

import json
import os
import re
import shlex
import shutil
import subprocess

import pytest

from conftest import BINARY, ROOT

TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


# Each line of a block that is not Python begins with one of these.
ACCOUNTED_FOR = {
    "cargo run --release -- dev": "run by every client test, built by ./test",
    "./test": "this is it",
    "cargo install": "not run: it would install a program on the machine",
    "strongroom seal create": "run by test_tamper.py, with another path",
    "strongroom serve --config": "run by crates/strongroom/tests/binary/serve.rs, with another path",
    "strongroom principal --config": "run by crates/strongroom/tests/binary/commands.rs, with another path",
    "strongroom audit verify": "run by test_tamper.py and test_kill.py, with another path",
    "mkdir -m 0700 /var/lib/strongroom": "not run: the path is the machine's",
    "strongroom bench make-store": "run by test_scale.py, with another number",
    "strongroom bench scale": "not run: it measures for minutes; its flags are checked below",
    "cargo run --release -- bench": "not run: it measures for minutes; its flags are checked below",
    "cargo bench -p strongroom-": "not run: they measure for minutes; clippy compiles them",
    "cargo run --release -p strongroom-store --features etcd --example": "not run: it measures, and starts a cluster; clippy compiles it",
    "cargo run -p xtask -- bom": "what it writes is checked by crates/xtask/src/bom.rs",
    "tests/reproduce": "run by ./test --full: it takes two release builds",
    "token=$(curl": "run below",
    "curl --cacert": "run below",
    "-d ": "run below, with the curl before it",
    "unset AZURE_CLIENT_ID": "not run: what follows it waits for a person",
    "127.0.0.1 login.localhost": "./test writes the same line where names do not resolve",
}
# Blocks of these languages are settings, not commands.
SETTINGS = {
    "toml": "settings are checked against docs/configuration.md by crates/strongroom/tests/binary/serve.rs and config/tests.rs",
    "ini": "not run: systemd is not there where the tests run; its command is checked below",
}


def test_every_block_is_run_or_accounted_for():
    unknown = []
    for path in TEXTS:
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(), re.M | re.S):
            if language == "python" or language in SETTINGS:
                continue
            lines = [line.strip() for line in block.splitlines() if line.strip()]
            unknown += [f"{path.name}: {line}" for line in lines if not line.startswith(tuple(ACCOUNTED_FOR))]
    assert not unknown, unknown


def test_the_curl_session_runs(server):
    (session,) = [block.values[0] for block in blocks("sh") if "curl" in block.values[0]]
    session = session.replace(":8443", f":{server.port}")
    done = subprocess.run(["sh", "-ec", session], env={**os.environ, **server.env}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "value" in json.loads(done.stdout), done.stdout


def test_links_between_the_texts_lead_somewhere():
    for path in [*TEXTS, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def blocks(language):
    for path in TEXTS:
        for block in re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S):
            yield pytest.param(block, id=f"{path.name}:{block.strip().splitlines()[0][:40]}")


@pytest.mark.parametrize("snippet", list(blocks("python")))
def test_python_snippets_run(server, snippet):
    snippet = snippet.replace(":8443", f":{server.port}")
    snippet = snippet.replace("OBJECT-ID-OF-READER", server.env["STRONGROOM_PRINCIPAL_READER_OBJECT_ID"])
    exec(compile(snippet, "snippet", "exec"), {})


def test_cargo_run_at_the_root_starts_the_product():
    """README's very first command; with a second binary in the workspace cargo does not know which one is meant."""
    if shutil.which("cargo") is None:
        pytest.skip("CARGO RUN NOT TESTED: there is no cargo here")
    assert "cargo run --release -- dev" in (ROOT / "README.md").read_text()
    ran = subprocess.run(
        # In the profile of the tests: another release build would take the place of the one that the clients run against.
        ["cargo", "run", "--quiet", "--", "--version"], cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert ran.returncode == 0 and ran.stdout.startswith("strongroom "), ran.stderr


def commands():
    for path in TEXTS:
        for line in re.findall(r"(?:^|`|-- )((?:strongroom|cargo run --release -- )[ a-z][^`#\n|]*)", path.read_text(), re.M):
            words = shlex.split(line.replace("cargo run --release --", "strongroom"), comments=True)
            if len(words) > 1 and not words[1].startswith(("-", "/")):
                yield pytest.param(words[1:], id=" ".join(words)[:60])


@pytest.mark.parametrize("words", list(commands()))
def test_commands_exist(words):
    path = []
    for word in words:
        if word.startswith("-") or not re.fullmatch("[a-z][a-z-]*", word):
            break
        path.append(word)
    while path:
        told = subprocess.run([BINARY, *path, "--help"], capture_output=True, text=True, timeout=20)
        if told.returncode == 0:
            break
        path.pop()  # a plain argument, such as a name
    assert path, words
    for flag in (word.split("=")[0] for word in words if word.startswith("--")):
        assert flag in told.stdout, (words, flag)
