"""A greeter that says which backend it is. Run as ``python -m lookaside.demo.backend``."""

import argparse
import asyncio
import signal

import grpc

from lookaside.demo._pb import greeter_pb2 as pb

GRACE_SECONDS = 10.0


async def serve(listen: str) -> None:
    """Greet until SIGTERM or SIGINT, then finish what is in flight.

    The address is printed once calls are accepted, as the only line on stdout.

    Args:
        listen: HOST:PORT; port 0 has the system choose.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port(listen)
    address = f"{listen.rpartition(':')[0]}:{port}"

    async def say_hello(
        request: pb.HelloRequest, _context: grpc.aio.ServicerContext[pb.HelloRequest, pb.HelloReply]
    ) -> pb.HelloReply:
        return pb.HelloReply(message=f"Hello, {request.name}!", backend=address)

    method = grpc.unary_unary_rpc_method_handler(
        say_hello, pb.HelloRequest.FromString, pb.HelloReply.SerializeToString
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("greeter.Greeter", {"SayHello": method})]
    )
    await server.start()
    print(address, flush=True)  # noqa: T201 - for the process that started it
    await stop.wait()
    await server.stop(GRACE_SECONDS)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="A greeter that says which backend it is.")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    asyncio.run(serve(parser.parse_args().listen))


if __name__ == "__main__":
    main()
