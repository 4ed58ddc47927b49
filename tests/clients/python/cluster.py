"""Three etcd processes on loopback, with certificates of their own, that a test may harm."""

import datetime
import ipaddress
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MEMBERS = 3


def available():
    return shutil.which("etcd") is not None


def ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return numbers


def certificate(key, name, issuer_key, issuer_name, ca):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(alternative, critical=False).add_extension(usages, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def write_certificates(folder):
    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate(ca_key, name("etcd CA of a test"), ca_key, name("etcd CA of a test"), ca=True)
    leaf = certificate(key, name("member"), ca_key, name("etcd CA of a test"), ca=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "certificate.pem").write_bytes(leaf.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pem").chmod(0o600)


class Cluster:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="strongroom-etcd-"))
        write_certificates(self.folder)
        numbers = ports(2 * MEMBERS)
        self.client, self.peer = numbers[:MEMBERS], numbers[MEMBERS:]
        self.processes = [None] * MEMBERS
        self.prefixes = 0
        for number in range(MEMBERS):
            self.run(number)

    def run(self, number):
        client, peer = (f"https://127.0.0.1:{of[number]}" for of in (self.client, self.peer))
        members = ",".join(f"m{n}=https://127.0.0.1:{port}" for n, port in enumerate(self.peer))
        options = {
            "name": f"m{number}",
            "data-dir": self.folder / f"m{number}",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": members,
            "logger": "zap",
            "log-level": "error",
            "client-cert-auth": "true",
            "peer-client-cert-auth": "true",
        }
        for kind in ("", "peer-"):
            options[f"{kind}trusted-ca-file"] = self.folder / "ca.pem"
            options[f"{kind}cert-file"] = self.folder / "certificate.pem"
            options[f"{kind}key-file"] = self.folder / "key.pem"
        arguments = [f"--{option}={value}" for option, value in options.items()]
        with open(self.folder / f"m{number}.log", "ab") as log:
            # It ends with this process, whatever ends that.
            command = ["setpriv", "--pdeathsig", "KILL", "etcd", *arguments]
            self.processes[number] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def settings(self, prefix=None, **more):
        """The settings of `[store]`, under a prefix that nobody else has unless one is given."""
        if prefix is None:
            self.prefixes += 1
            prefix = f"test-{os.getpid()}-{self.prefixes}/"
        endpoints = ", ".join(f'"https://127.0.0.1:{port}"' for port in self.client)
        lines = ['kind = "etcd"', f"endpoints = [{endpoints}]", f'prefix = "{prefix}"']
        lines += [f'{name} = "{self.folder / name}.pem"' for name in ("ca", "certificate", "key")]
        lines += [f'{name} = "{value}"' for name, value in more.items()]
        return "\n".join(lines) + "\n"

    def kill(self, number):
        self.processes[number].kill()
        self.processes[number].wait(30)

    def pause(self, number):
        self.processes[number].send_signal(signal.SIGSTOP)

    def resume(self, number):
        self.processes[number].send_signal(signal.SIGCONT)

    def leader(self):
        environment = {**os.environ, "ETCDCTL_API": "3"}
        files = [f"--cacert={self.folder}/ca.pem", f"--cert={self.folder}/certificate.pem", f"--key={self.folder}/key.pem"]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for number, port in enumerate(self.client):
                command = ["etcdctl", f"--endpoints=https://127.0.0.1:{port}", *files, "endpoint", "status"]
                answer = subprocess.run(command, env=environment, capture_output=True, text=True)
                if answer.returncode == 0 and answer.stdout.split(", ")[4] == "true":
                    return number
            time.sleep(0.1)
        raise RuntimeError("no member leads")

    def close(self):
        for process in filter(None, self.processes):
            process.kill()
            process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)
