"""Runs the official JavaScript SDK's tests against the same server."""

import os
import pathlib
import subprocess


def test_javascript_sdk(server):
    folder = pathlib.Path(os.environ["STRONGROOM_JS"])
    done = subprocess.run(["node", "--test", "--test-reporter=tap", "keys.test.js"], cwd=folder, env=os.environ | server.env,
                          capture_output=True, text=True, timeout=300)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout[-6000:]
