"""A target of webhooks: an HTTPS server on this machine, with a certificate of its own authority."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAMES = ("hooks.example.com", "slow.example.com")


@dataclass
class Received:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes


#: Gives the status and further headers of an answer; may wait before.
Answer = Callable[[Received], "tuple[int, dict[str, str]] | float"]


@dataclass
class Targets:
    """A server that stands for all targets: it keeps what comes in and answers as it is told.

    ``answer`` gives a status and headers, or seconds to wait before 200.
    """

    answer: Answer
    port: int = 0
    received: list[Received] = field(default_factory=list)
    n_connections: int = 0

    def url(self, path: str = "/", host: str = NAMES[0]) -> str:
        """Give the address of a target."""
        return f"https://{host}:{self.port}{path}"

    async def find(self, host: str, port: int) -> Sequence[str]:
        """Look up a name, of which each means this machine."""
        return ["127.0.0.1"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.n_connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            pairs = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Received(head[0].split(" ")[1], headers, body)
            self.received.append(request)
            told = self.answer(request)
            if isinstance(told, float):
                await asyncio.sleep(told)
                told = (200, {})
            status, further = told
            lines = [f"HTTP/1.1 {status} X", "content-length: 2", "connection: close"]
            lines += [f"{name}: {value}" for name, value in further.items()]
            writer.write(("\r\n".join(lines) + "\r\n\r\nok").encode())
            await writer.drain()
        finally:
            writer.close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate that is its own authority, and give its file and that with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    names: list[x509.GeneralName] = [x509.DNSName(one) for one in NAMES]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([*names, x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, both = folder / "authority.pem", folder / "server.pem"
    pem = made.public_bytes(serialization.Encoding.PEM)
    public.write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    both.write_bytes(private + pem)
    return public, both


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give the file of an authority, and that of a server."""
    return _certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def targets(
    certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., asyncio.Future[Targets]]:
    """Give what opens the server; its authority is one that this machine trusts."""
    authority, server = certificates
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))

    @asynccontextmanager
    async def open_targets(answer: Answer = lambda _: (200, {})) -> AsyncIterator[Targets]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server)
        made = Targets(answer)
        listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
        made.port = listening.sockets[0].getsockname()[1]
        async with listening:
            yield made

    return open_targets  # type: ignore[return-value]
