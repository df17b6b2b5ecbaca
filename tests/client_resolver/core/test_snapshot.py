from client_resolver.core.backend import Backend
from client_resolver.core.load import LoadReport
from client_resolver.core.model import Connectivity
from client_resolver.core.snapshot import BackendSnapshot, snapshot_of
from tests.client_resolver.core.pooling import endpoint


def test_a_backend_is_described_as_it_is() -> None:
    backend: Backend[object] = Backend(endpoint(1, 5, zone="z", node="n"))
    backend.opened = True
    backend.connectivity = Connectivity.TRANSIENT_FAILURE
    backend.weight = 50
    backend.level = 1
    backend.in_flight.add(object())
    backend.ejected_until = 12.0
    backend.draining = backend.failing = True
    backend.last_error = "refused"
    backend.load = LoadReport(qps=3)
    assert snapshot_of(backend, 10.0) == BackendSnapshot(
        address="10.0.0.1:1",
        connectivity=Connectivity.TRANSIENT_FAILURE,
        weight=5,
        effective_weight=50,
        zone="z",
        node="n",
        level=1,
        in_flight=1,
        ejected_for=2.0,
        draining=True,
        failing=True,
        last_error="refused",
        load=LoadReport(qps=3),
    )
    assert snapshot_of(backend, 13.0).ejected_for == 0.0


def test_a_backend_without_a_connection_has_no_state_of_one() -> None:
    seen = snapshot_of(Backend[object](endpoint(1)), 0.0)
    assert seen.connectivity is None
    assert seen.ejected_for is None
