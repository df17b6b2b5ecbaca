"""The greeter tells clients of this package how loaded it is."""

import asyncio

import grpc

import client_resolver
from examples.greeter.load import Load


async def test_the_greeter_reports_its_load_out_of_band() -> None:
    load = Load()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((load,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    config = {
        "loadBalancingConfig": [
            {"weighted_round_robin": {"backendMetrics": True, "oobReportingPeriod": "0.1s"}}
        ]
    }
    target = f"static:///127.0.0.1:{port}"
    try:
        async with client_resolver.aio.insecure_channel(target, service_config=config) as channel:
            await channel.channel_ready()
            async with asyncio.timeout(20):
                while True:
                    load.requests += 1
                    (backend,) = channel.snapshot().backends
                    if backend.load is not None and backend.load.qps > 0:
                        break
                    await asyncio.sleep(0.01)
            assert backend.load.cpu_utilization > 0
    finally:
        # A server that is left over is stopped when it is collected: on a loop that is closed.
        await server.stop(None)
