"""The exceptions of the package.

``` text
Exception
└── ResolverError
    ├── TargetError (also ValueError)         a target that cannot be understood
    └── ServiceConfigError (also ValueError)  a service config that cannot be understood
```

A failed RPC raises `grpc.RpcError` (sync) or `grpc.aio.AioRpcError` (aio), as with grpc's own
channels, also where the failure was decided by this package.
"""

__all__ = ["ResolverError", "ServiceConfigError", "TargetError"]


class ResolverError(Exception):
    """The base of every exception that this package raises itself."""


class TargetError(ResolverError, ValueError):
    """A channel's target is malformed or of an unknown scheme."""


class ServiceConfigError(ResolverError, ValueError):
    """A service config is malformed or names no known load-balancing policy."""
