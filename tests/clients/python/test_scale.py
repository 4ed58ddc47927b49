"""A store of many keys: lists are complete, memory stays bounded by the caches. STRONGROOM_SCALE sets the number of keys."""

import os
import pathlib
import subprocess

import pytest

from conftest import BINARY, Server, count

KEYS = int(os.environ.get("STRONGROOM_SCALE", "6000"))
MANY = 100_000  # From here on the caches have the size of production.
CACHES = [] if KEYS >= MANY else ["--cache-keys", "256", "--cache-store-mib", "1"]
TOUCHED = 80_000 if KEYS >= MANY else KEYS  # More than twice what fits into the cache.
GROWTH_KIB = 8 * 1024 if KEYS >= MANY else 1024  # Without a bound the same run grows by 25 MiB, or by 2.5.
VERSION = {"api-version": "7.6"}


@pytest.fixture(scope="module")
def large():
    server = Server(*CACHES)
    command = [BINARY, "bench", "make-store", str(KEYS), "--data", server.folder / "home"]
    subprocess.run(command, check=True, capture_output=True, timeout=3600)
    server.start()
    count("scale: keys in a store of the whole system", KEYS)
    yield server
    server.close()


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])


def test_every_key_is_listed_once(large):
    session, url, names, pages = large.session(), f"{large.hsm}/keys?api-version=7.6", [], 0
    while url:
        if pages % 10_000 == 0:
            session = large.session()  # A token lasts an hour.
        page = session.get(url).json()
        names += [item["kid"].rsplit("/", 1)[1] for item in page["value"]]
        url, pages = page["nextLink"], pages + 1
    assert names == [f"k{number:07}" for number in range(KEYS)]
    assert pages <= KEYS // 25 + 1


def test_memory_stays_bounded_by_the_caches(large):
    session, step = large.session(), 2_654_435_761  # Odd and large: all keys, in no order.

    def touch(turns):
        for turn in turns:
            answer = session.get(f"{large.hsm}/keys/k{turn * step % KEYS:07}", params=VERSION)
            assert answer.status_code == 200, answer.text

    (service,) = large.children()["service"]
    touch(range(TOUCHED // 2))
    halfway = resident_kib(service)
    touch(range(TOUCHED // 2, TOUCHED))
    grown = resident_kib(service) - halfway
    print(f"service: {halfway} KiB after {TOUCHED // 2} keys, {grown} KiB more after as many others")
    assert grown < GROWTH_KIB
