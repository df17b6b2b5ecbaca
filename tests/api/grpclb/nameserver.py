"""A name server on loopback, by which clients find a balancer: SRV and A records."""

from collections.abc import Mapping, Sequence
from typing import Self

from dnslib import QTYPE, RR, SRV, A, DNSRecord  # type: ignore[import-untyped]
from dnslib.server import (  # type: ignore[import-untyped]
    BaseResolver,
    DNSHandler,
    DNSServer,
)

_TTL = 60


class Records(BaseResolver):  # type: ignore[misc] # dnslib has no types
    """Answers from a table.

    Args:
        hosts: The IPv4 addresses of names.
        services: The targets and ports of names of services, ``_grpclb._tcp.NAME``.
    """

    def __init__(
        self,
        hosts: Mapping[str, Sequence[str]],
        services: Mapping[str, Sequence[tuple[str, int]]],
    ) -> None:
        self._hosts = hosts
        self._services = services

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """Answer a question."""
        reply = request.reply()
        name, kind = str(request.q.qname).removesuffix("."), QTYPE[request.q.qtype]
        if kind == "A":
            for address in self._hosts.get(name, ()):
                reply.add_answer(RR(name, QTYPE.A, rdata=A(address), ttl=_TTL))
        if kind == "SRV":
            for target, port in self._services.get(name, ()):
                record = SRV(target=target, port=port)
                reply.add_answer(RR(name, QTYPE.SRV, rdata=record, ttl=_TTL))
        return reply


class NameServer:
    """A running name server, as a context manager. `address` is its HOST:PORT."""

    def __init__(self, records: Records) -> None:
        self._server = DNSServer(records, address="127.0.0.1", port=0)
        host, port = self._server.server.server_address
        self.address = f"{host}:{port}"

    def __enter__(self) -> Self:
        self._server.start_thread()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._server.server.server_close()
