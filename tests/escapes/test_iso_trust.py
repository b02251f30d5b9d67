"""Whom a guest trusts: HTTPS through a door holds with the host's authority, in Python and in Node, and not without."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from escape_lab import Lab, Micro

from sandbox.certificates import certificates_in
from sandbox.users import find_users
from tests.certificate import make_certificate

pytestmark = pytest.mark.root

CALLER = """
import os, subprocess, urllib.request

NODE = '''
require("https").get(process.argv[1], answer => {
  answer.on("data", data => process.stdout.write(data))
}).on("error", error => process.stdout.write(error.code || error.message))
'''

def attack(argument):
    client, url = argument.split(",")
    if client == "python":
        try:
            with urllib.request.urlopen(url.replace("|", "/"), timeout=5) as answer:
                return answer.read().decode()
        except OSError as error:
            return str(error)
    if client == "distrustful":
        os.environ["NODE_EXTRA_CA_CERTS"] = os.environ["SSL_CERT_FILE"] = "/dev/null"
        return attack("python," + url)
    words = {"node": ["/usr/bin/node", "-e", NODE], "curl": ["/usr/bin/curl", "-sS"]}[client]
    done = subprocess.run([*words, url.replace("|", "/")], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr
"""


@pytest.fixture(scope="module")
def micro(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Micro]:
    """A sandbox whose door for HTTPS is answered with a certificate of the host's authority."""
    file = make_certificate(tmp_path_factory.mktemp("tls"), ["database.deta.sh"])
    place = lab.data / "ca"
    place.mkdir()
    (place / "ca.pem").write_bytes(certificates_in(file.read_bytes()))
    host = find_users(lab.settings.uid_base).host
    os.chown(place / "ca.pem", host, host)
    started = lab.start(CALLER)
    doors = lab.run(lab.client.doors(started.sandbox))
    thread = threading.Thread(target=answer, args=(doors.https, file))
    thread.start()
    yield started
    doors.https.shutdown(socket.SHUT_RD)
    thread.join(5)
    for each in doors:
        each.close()


def answer(door: socket.socket, certificate: Path) -> None:
    """Be the host until the door is shut."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    door.settimeout(60)
    while True:
        try:
            made, _ = door.accept()
        except OSError:
            return
        made.settimeout(10)
        try:
            with context.wrap_socket(made, server_side=True) as secure:
                secure.recv(4096)
                secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\nthe host")
        except OSError:
            made.close()


@pytest.mark.parametrize("client", ["python", "node", "curl"])
def test_https_holds_with_the_hosts_authority(micro: Micro, client: str) -> None:
    if client != "python" and not shutil.which(client, path="/usr/bin"):
        pytest.skip(f"there is no {client} here")
    assert micro.attack(f"{client},https:||database.deta.sh|") == "the host"


def test_a_name_that_the_certificate_does_not_hold_is_refused(micro: Micro) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in micro.attack("python,https:||drive.deta.sh|")


def test_without_the_authority_it_does_not_hold(micro: Micro) -> None:
    said = micro.attack("distrustful,https:||database.deta.sh|")
    assert "CERTIFICATE_VERIFY_FAILED" in said


def test_a_micros_own_variables_come_first(lab: Lab) -> None:
    source = "import os\ndef attack(argument):\n    return os.environ[argument]\n"
    started = lab.start(source, environment={"SSL_CERT_FILE": "/micro/own.pem"})
    assert started.attack("SSL_CERT_FILE") == "/micro/own.pem"
    assert started.attack("REQUESTS_CA_BUNDLE") == "/etc/ssl/bundle.pem"
    started.stop()
