import threading
from typing import Any

import client_resolver
from client_resolver import testing
from client_resolver.sync.nesting import is_nested, is_own_thread
from client_resolver.sync.work_serializer import WorkSerializer


def test_what_is_called_by_the_application_is_not_nested() -> None:
    assert not is_nested()
    assert not is_own_thread()


def test_what_a_channels_own_code_calls_is_nested() -> None:
    serializer = WorkSerializer(lambda: None)
    assert serializer.read(lambda: is_nested())  # noqa: PLW0108 (the application's code)


def test_close_in_a_policy_that_is_being_built_returns_at_once() -> None:
    closed: list[str] = []

    class Closing(client_resolver.BasePolicy):
        name = "closing"

        def build(self, backends: Any, *_: object) -> Any:
            channel.close()
            closed.append(repr(channel))
            return backends

    with testing.Backend() as backend:
        channel = client_resolver.insecure_channel(
            f"static:///{backend.address}",
            policy="closing",
            policies={"closing": lambda _: Closing()},
        )
        before = set(threading.enumerate())
        channel.subscribe(lambda _: None, try_to_connect=True)
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("lookaside"):
                thread.join(20)
                assert not thread.is_alive()
    assert closed
    assert not channel.snapshot().waiting_calls
