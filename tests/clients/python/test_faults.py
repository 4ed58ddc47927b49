"""kill -9 of every process in the middle of the work: nothing acknowledged is lost, and requests go on."""

import hashlib
import random
import signal
import threading
import time

import pytest
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.identity import DefaultAzureCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm

from conftest import Server, free_port

RETRY = {"retry_total": 10, "retry_connect": 10, "retry_read": 10, "retry_status": 10, "retry_backoff_factor": 0.1}
KILLS = 3
DIGEST = hashlib.sha256(b"message").digest()


def client_of(server):
    return KeyClient(server.env["STRONGROOM_HSM_URL"], DefaultAzureCredential(), **RETRY)


def signer(key):
    crypto = CryptographyClient(key.id, DefaultAzureCredential(), **RETRY)
    crypto._keys_get_forbidden = True
    return crypto


@pytest.mark.parametrize("role", ["partition", "service"])
def test_a_killed_process_is_replaced_and_requests_go_on(own_server, role):
    client = client_of(own_server)
    key = client.create_ec_key("survivor", hardware_protected=True)
    crypto = signer(key)
    acknowledged, errors, stop = [], [], threading.Event()

    def work():
        while not stop.is_set():
            try:
                acknowledged.append(client.create_ec_key(f"k{len(acknowledged)}", hardware_protected=True))
                crypto.sign(SignatureAlgorithm.es256, DIGEST)
            except Exception as error:  # noqa: BLE001
                errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    before = own_server.children()[role]
    for _ in range(KILLS):
        time.sleep(0.4)
        own_server.kill(role)
    by_then = len(acknowledged)
    time.sleep(2.5)
    stop.set()
    worker.join()
    own_server.wait_ready()
    assert not set(before) & set(own_server.children()[role])
    # A dying partition costs no request. A dying service breaks connections, and the SDK repeats no POST on them.
    assert role == "service" or not errors, errors[:3]
    assert all(isinstance(error, (ServiceRequestError, ServiceResponseError)) for error in errors), errors[:3]
    assert len(acknowledged) > by_then
    for made in acknowledged:
        assert client.get_key(made.name, made.properties.version).key.x == made.key.x
    assert crypto.verify(SignatureAlgorithm.es256, DIGEST, crypto.sign(SignatureAlgorithm.es256, DIGEST).signature).is_valid


def test_a_killed_keeper_takes_its_children_with_it_and_a_new_start_has_every_key(own_server):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    moments = random.Random(seed)
    keys = {}
    for _ in range(4):
        client, deadline = client_of(own_server), time.monotonic() + moments.uniform(0.1, 0.6)
        while time.monotonic() < deadline:
            made = client.create_ec_key(f"k{moments.randrange(20)}", hardware_protected=True)
            keys[made.id] = made
        own_server.kill("keeper")
        own_server.start()
    client = client_of(own_server)
    for made in keys.values():
        assert client.get_key(made.name, made.properties.version).key.x == made.key.x
        signer(made).sign(SignatureAlgorithm.es256, DIGEST)


def test_a_clean_stop_keeps_everything(own_server):
    client = client_of(own_server)
    key = client.create_rsa_key("kept", size=2048, hardware_protected=True)
    before = dict(own_server.env)
    assert own_server.stop() == 0
    own_server.start()
    assert own_server.env == before
    assert client_of(own_server).get_key("kept").key.n == key.key.n
    own_server.process.send_signal(signal.SIGINT)
    assert own_server.process.wait(40) == 0


def test_a_taken_port_is_named():
    first = Server().start()
    second = Server()
    second.port = first.port
    try:
        with pytest.raises(RuntimeError) as refused:
            second.start()
        assert str(first.port) in str(refused.value) and "port" in str(refused.value)
    finally:
        first.close()
        second.close()
    assert free_port()
