from structlog.testing import capture_logs

from lookaside.api.wire import RECEIVE_LIMIT, WireEncoder
from lookaside.model import Endpoint, Revision, ServiceKey, ServiceName, Snapshot, State
from lookaside.registry.steps import finish

WIDE = (("text", "x" * 64_000),)


def snapshot(name: str, count: int) -> Snapshot:
    endpoints = tuple(Endpoint(f"10.0.0.{n}", 80, metadata=WIDE) for n in range(count))
    service = ServiceName(ServiceKey("shop", name))
    return Snapshot(service, "file", State.PRESENT, endpoints, Revision("a", 1, "e"))


def test_a_list_larger_than_clients_take_by_default_is_warned_of_once_per_service() -> None:
    encoder = WireEncoder()
    with capture_logs() as logs:
        assert len(finish(encoder.snapshot(snapshot("small", 60)))) < RECEIVE_LIMIT
        for name in ("large", "huge", "large", "huge"):
            assert len(finish(encoder.snapshot(snapshot(name, 70)))) > RECEIVE_LIMIT
    assert [log["service"] for log in logs] == ["large.shop", "huge.shop"]
    assert {log["log_level"] for log in logs} == {"warning"}
    assert {log["endpoints"] for log in logs} == {70}
    assert all(log["bytes"] > log["limit"] == RECEIVE_LIMIT for log in logs)
