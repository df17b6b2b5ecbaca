"""The whole on one machine: the service on a static file, greeter backends, a client, a change.

The one place where both distributions meet: it needs lookaside-resolver, the extra ``demo``.
"""
