"""What README and docs say is done here: Python snippets run, and every `strongroom` command is one that there is."""

import re
import shlex
import shutil
import subprocess

import pytest

from conftest import BINARY, ROOT

TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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
        ["cargo", "run", "--quiet", "--release", "--", "--version"], cwd=ROOT, capture_output=True, text=True, timeout=1800)
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
