"""Speak TLS: choose the certificate by the name that the client asks for, and accept on a second socket.

Theory of operation
    A handshake's callback chooses a context. A name of the operator's own certificate gets that one; every other the
    local authority's. Its certificate holds the wildcard of the domain; of a domain without a dot, such as
    `localhost`, clients accept no wildcard, so each sub-domain gets a certificate of its own when it is first asked for.
    Nothing renews them but the next handshake that finds them old.
    We accept by ourselves instead of by a server: a handshake that is never finished holds a descriptor before any
    protocol sees it. Beyond a number of unfinished ones, the oldest makes way.
    Source: RFC 6066, section 3 (the server's name); RFC 6125, section 6.4.3 (wildcards).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from cryptography import x509

from microhost.errors import HostError
from microhost.limits import CERTIFICATE_RENEW_DAYS, REQUEST_HEAD_S, TLS_HANDSHAKES
from microhost.storage.authority import Authority, Identity, names_of

CONTEXTS_KEPT = 256
ACCEPTS_PER_TURN = 64
REST_S = 0.1
SHUTDOWN_S = 2.0

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

log = structlog.get_logger("tls")


class Certificates:
    """Choose the context of each handshake; `context` is the one to give to a server."""

    def __init__(
        self,
        authority: Authority,
        *,
        domain: str,
        clock: Callable[[], datetime],
        custom: Identity | None = None,
    ) -> None:
        """Use the operator's `custom` certificate for its names. Raises: HostError when it cannot be used."""
        self._authority = authority
        self._domain = domain.lower()
        self._clock = clock
        self._kept: dict[str, tuple[datetime, ssl.SSLContext]] = {}
        self._custom = _context_of(custom) if custom else None
        self._custom_names = _names_in(custom.chain) if custom else frozenset()
        self.context = _context_of(authority.issue(names_of(self._domain)))
        self.context.sni_callback = self._choose

    def find(self, name: str | None) -> ssl.SSLContext:
        """Give the context for a name, None when the client named none."""
        name = (name or "").lower().rstrip(".")
        if self._custom is not None and _covers(self._custom_names, name):
            return self._custom
        label, _, rest = name.partition(".")
        if rest in (self._domain, "localhost") and "." not in rest and _LABEL.fullmatch(label):
            return self._keep(name, [name])
        return self._keep("", names_of(self._domain))

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self.find(name)

    def _keep(self, key: str, names: list[str]) -> ssl.SSLContext:
        found = self._kept.get(key)
        now = self._clock()
        if found is not None and now < found[0]:
            return found[1]
        identity = self._authority.issue(names)
        while len(self._kept) >= CONTEXTS_KEPT:
            del self._kept[next(iter(self._kept))]
        renew_at = max(identity.ends_at - timedelta(days=CERTIFICATE_RENEW_DAYS), now + timedelta(hours=1))
        context = _context_of(identity)
        self._kept[key] = (renew_at, context)
        return context


def read_custom(certificate: bytes, key: bytes) -> Identity:
    """Give the operator's own certificate (PEM, with its chain) and key. Raises: HostError when it is none."""
    try:
        ends_at = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    except ValueError as error:
        raise HostError("tls_certificate holds no certificate in PEM.") from error
    return Identity(certificate, key, ends_at)


class SecureListener:
    """Accept on a socket and make a protocol of each connection whose handshake succeeds."""

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
        *,
        handshake_s: float = REQUEST_HEAD_S,
        handshakes: int = TLS_HANDSHAKES,
    ) -> None:
        """Accept from now on. A handshake may take `handshake_s`; at most `handshakes` are under way."""
        self._listener = listener
        self._context = context
        self._make = make
        self._handshake_s = handshake_s
        self._most = handshakes
        self._loop = asyncio.get_running_loop()
        self._begun: dict[asyncio.Task[None], socket.socket] = {}
        self._is_closed = False
        listener.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Accept nothing more and give up what has not shaken hands; calling twice changes nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        for task in self._begun:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until nothing of it runs."""
        await asyncio.gather(*self._begun, return_exceptions=True)

    def _watch(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(error)
                return
            self._begin(accepted)

    def _rest(self, error: OSError) -> None:
        """Accept nothing for a moment: the socket would stay readable, and the loop would do nothing else."""
        log.warning("cannot accept", reason=error.strerror)
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(REST_S, self._watch)

    def _begin(self, accepted: socket.socket) -> None:
        if len(self._begun) >= self._most:
            self._drop(next(iter(self._begun)))
        task = self._loop.create_task(self._shake_hands(accepted))
        self._begun[task] = accepted
        task.add_done_callback(lambda done: self._begun.pop(done, None))

    def _drop(self, oldest: asyncio.Task[None]) -> None:
        del self._begun[oldest]
        oldest.cancel()

    async def _shake_hands(self, accepted: socket.socket) -> None:
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                self._make,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except OSError:  # the client's handshake failed or took too long: nobody's business but the client's
            accepted.close()
        except BaseException:
            accepted.close()
            raise


def _context_of(identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    # the library reads from paths only; this one names memory, so that no key is written to the disk
    memory = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(memory, identity.key + b"\n" + identity.chain)
        context.load_cert_chain(f"/proc/self/fd/{memory}", password=lambda: b"")
    except ssl.SSLError as error:
        raise HostError(
            "tls_certificate and tls_key do not belong together, or the key needs a passphrase."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            os.close(memory)
    return context


def _names_in(chain: bytes) -> frozenset[str]:
    certificate = x509.load_pem_x509_certificate(chain)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(each.lower() for each in names.get_values_for_type(x509.DNSName))


def _covers(names: frozenset[str], name: str) -> bool:
    return bool(name) and (name in names or f"*.{name.partition('.')[2]}" in names)
