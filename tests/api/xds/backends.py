"""Backends that answer who they are and by which connection: `python -m tests.api.xds.backends 3`.

The port of each is printed, a line each. It ends when its input does.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


class Greeter(grpc.GenericRpcHandler):
    """Answers any method."""

    def __init__(self) -> None:
        self.port = 0

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        return f"{self.port} {context.peer()}".encode()


def main() -> None:
    """Serve until the input ends."""
    servers = []
    with ThreadPoolExecutor(8) as threads:
        for _ in range(int(sys.argv[1])):
            greeter = Greeter()
            server = grpc.server(threads)
            server.add_generic_rpc_handlers([greeter])
            greeter.port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            servers.append(server)
            print(greeter.port, flush=True)
        sys.stdin.read()
        for server in servers:
            server.stop(None)


if __name__ == "__main__":
    main()
