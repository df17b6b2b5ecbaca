"""Resolvers of the user's own: a channel's backends from wherever they are known.

A resolver is a callable that is given the channel's target and returns the backends that there are
now. It is asked at the first use of the channel, every `refresh_interval` seconds, soon after a
backend can't be reached, and at `channel.resolve_now()`:

```python
import client_resolver


def from_file(target):
    with open(target.removeprefix("file://")) as lines:
        return [line.strip() for line in lines]


channel = client_resolver.insecure_channel(
    "file:///etc/greeters", resolvers={"file": from_file}
)
```

What it raises is logged, and the last known backends are kept. A channel of `client_resolver.aio`
runs it on a thread, so it may wait; there it may be a coroutine function as well.
"""

from client_resolver.resolver.custom import Answer, Resolve, Server

__all__ = ["Answer", "Resolve", "Server"]
