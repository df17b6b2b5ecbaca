import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.replay import Evidence, weigh

REFUSED = "failed to connect to all addresses; last error: UNKNOWN: {}: Connection refused"
FAILING = "connections to all backends failing; last error: UNKNOWN: {}: Failed to connect to x"
UNWELL = "connections to all backends failing; last error: {}: backend unhealthy"
UNRESOLVED = "errors resolving {}: [field:hostname lookup error:address lookup failed for x]"


@pytest.mark.parametrize(
    ("address", "code", "details", "metadata", "evidence"),
    [
        ("10.0.0.1:80", "UNAVAILABLE", REFUSED.format("ipv4:10.0.0.1:80"), False, "UNSENT"),
        ("[::1]:80", "UNAVAILABLE", REFUSED.format("ipv6:%5B::1%5D:80"), False, "UNSENT"),
        ("host:80", "UNAVAILABLE", REFUSED.format("ipv4:1.2.3.4:80"), False, "UNSENT"),
        ("host:80", "UNAVAILABLE", "DNS resolution failed for host:80: x", False, "UNSENT"),
        # With health checks.
        ("10.0.0.1:80", "UNAVAILABLE", FAILING.format("ipv4:10.0.0.1:80"), False, "UNSENT"),
        ("10.0.0.1:80", "UNAVAILABLE", UNWELL.format("ipv4:10.0.0.1:80"), False, "UNSENT"),
        ("[::1]:80", "UNAVAILABLE", UNWELL.format("ipv6:%5B::1%5D:80"), False, "UNSENT"),
        ("host:80", "UNAVAILABLE", UNWELL.format("ipv4:1.2.3.4:80"), False, "UNSENT"),
        ("host:80", "UNAVAILABLE", UNRESOLVED.format("host:80"), False, "UNSENT"),
        # Passed on by a server from a backend of its own.
        ("10.0.0.1:80", "UNAVAILABLE", UNWELL.format("ipv4:10.0.0.2:80"), False, "NONE"),
        ("10.0.0.1:80", "UNAVAILABLE", UNWELL.format("ipv4:10.0.0.1:80"), True, "NONE"),
        ("host:80", "UNAVAILABLE", UNRESOLVED.format("other:80"), False, "NONE"),
        ("10.0.0.1:80", "UNAVAILABLE", UNRESOLVED.format("10.0.0.1:80"), False, "NONE"),
        ("10.0.0.1:80", "UNAVAILABLE", REFUSED.format("ipv4:10.0.0.2:80"), False, "NONE"),
        ("10.0.0.1:80", "UNAVAILABLE", REFUSED.format("ipv4:10.0.0.1:8080"), False, "NONE"),
        ("10.0.0.1:80", "UNAVAILABLE", REFUSED.format("ipv4:110.0.0.1:80"), False, "NONE"),
        ("10.0.0.1:80", "UNAVAILABLE", REFUSED.format("ipv4:10.0.0.1:80"), True, "NONE"),
        # The RPC was under way.
        ("10.0.0.1:80", "UNAVAILABLE", "Stream removed (Socket closed)", False, "NONE"),
        ("10.0.0.1:80", "UNAVAILABLE", "Cancelling all calls", False, "NONE"),
        ("10.0.0.1:80", "UNAVAILABLE", "", False, "NONE"),
        ("10.0.0.1:80", "CANCELLED", "CANCELLED", False, "TURNED_AWAY"),
        ("10.0.0.1:80", "CANCELLED", "CANCELLED", True, "NONE"),
        ("10.0.0.1:80", "CANCELLED", "Locally cancelled by application!", False, "NONE"),
        ("10.0.0.1:80", "DEADLINE_EXCEEDED", "Deadline Exceeded", False, "NONE"),
    ],
)
def test_failures_are_weighed(
    address: str, code: str, details: str, metadata: bool, evidence: str
) -> None:
    found = weigh(code, details, metadata=metadata, address=parse_address(address))
    assert found is Evidence[evidence]
