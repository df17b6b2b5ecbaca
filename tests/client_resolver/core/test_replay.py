import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.replay import Evidence, is_local, weigh

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


@pytest.mark.parametrize(
    ("code", "details", "local"),
    [
        ("INTERNAL", "Exception serializing request!", True),
        ("INTERNAL", "Exception deserializing response!", True),
        ("INTERNAL", "a server's own", False),
        ("UNKNOWN", "Exception iterating requests!", True),
        ("UNKNOWN", "Exception calling application: x", False),
        ("CANCELLED", "Locally cancelled by application!", True),
        ("CANCELLED", "Channel closed!", True),
        ("CANCELLED", "CANCELLED", False),
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (9 vs. 4)", True),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 4)", False),
        ("UNAVAILABLE", "Getting metadata from plugin failed with error: x", True),
        ("UNAVAILABLE", "Exception serializing request!", False),
        ("NOT_FOUND", "", False),
    ],
)
def test_what_a_client_did_itself_says_nothing_of_the_backend(
    code: str, details: str, local: bool
) -> None:
    assert is_local(code, details) is local
