"""Asks a balancer through code generated from the article's proto, as goclient does in Go.

It prints one JSON line for the answer of GetServers and one for each of the first messages of
WatchServers. The generated modules must be on the path: they can't be loaded beside the service's
own, whose file has the same name and more in it.
"""

import argparse
import importlib
import json
from collections.abc import Iterable
from typing import Any

import grpc

pb: Any = importlib.import_module("lookaside_pb2")
stubs: Any = importlib.import_module("lookaside_pb2_grpc")


def main() -> None:
    """Ask, and print the answers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="localhost:50052", metavar="HOST:PORT")
    parser.add_argument("--service", required=True)
    parser.add_argument("--watch", type=int, default=0, metavar="MESSAGES")
    args = parser.parse_args()
    with grpc.insecure_channel(args.address) as channel:
        stub = stubs.LoadBalancerStub(channel)
        try:
            request = pb.GetServersRequest(service_name=args.service)
            show("GetServers", stub.GetServers(request, timeout=30).servers)
        except grpc.RpcError as error:
            line = {"method": "GetServers", "code": error.code().name, "message": error.details()}
            print(json.dumps(line), flush=True)
        if args.watch:
            watch = stub.WatchServers(pb.WatchServersRequest(service_name=args.service), timeout=30)
            for _ in range(args.watch):
                show("WatchServers", next(watch).servers)
            watch.cancel()


def show(method: str, servers: Iterable[Any]) -> None:
    """Print the servers of one answer."""
    listed = [
        {"address": each.address, "weight": each.weight, "metadata": dict(each.metadata)}
        for each in servers
    ]
    print(json.dumps({"method": method, "servers": listed}), flush=True)


if __name__ == "__main__":
    main()
