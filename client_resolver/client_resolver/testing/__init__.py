"""Real servers on loopback to test clients with: backends that fail on demand, and a balancer.

```python
import grpc
import client_resolver
from client_resolver import testing

with testing.Backends(3) as backends, testing.Balancer() as balancer:
    balancer.serve("greeter", backends)
    backends[0].fail(grpc.StatusCode.UNAVAILABLE)
    with client_resolver.insecure_channel(balancer.target("greeter")) as channel:
        testing.connect(channel, 3)
```

The servers run on threads of their own, so that they serve tests with and without asyncio. What
waits for them (`wait_for`, `Backend.wait_for_calls`…) blocks. In a test with asyncio, take
`eventually` and `connect_aio`, or call the others by `asyncio.to_thread`. Nothing here needs more
than this package itself.
"""

from client_resolver.testing.backend import Backend, Backends, Received
from client_resolver.testing.balancer import Balancer
from client_resolver.testing.server import LoopbackServer
from client_resolver.testing.waiting import connect, connect_aio, eventually, wait_for

__all__ = [
    "Backend",
    "Backends",
    "Balancer",
    "LoopbackServer",
    "Received",
    "connect",
    "connect_aio",
    "eventually",
    "wait_for",
]
