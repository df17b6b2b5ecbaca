"""The service config that a Service's annotation gives to its clients."""

import json
from typing import Final

from tests.cluster.api import Object
from tests.cluster.balancer import Balancer
from tests.cluster.handmade import body, catch_up
from tests.cluster.objects import Namespace
from tests.cluster.watches import Watch

CONFIG: Final = "lookaside.dev/service-config"
ROUND_ROBIN: Final[Object] = {"loadBalancingConfig": [{"round_robin": {}}]}
RETRIES: Final[Object] = {
    "loadBalancingConfig": [{"least_request": {"choiceCount": 2}}, {"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "greeter.Greeter"}],
            "timeout": "1.5s",
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


def test_a_service_config_is_sent_with_the_list_and_again_when_it_changes(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={}, annotations={CONFIG: json.dumps(ROUND_ROBIN)})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    name = f"greeter.{namespace.name}"
    catch_up(balancer, namespace)
    assert json.loads(balancer.get(name).service_config) == ROUND_ROBIN
    with Watch(balancer, name) as watch:
        watch.wait(lambda message: bool(message.service_config))
        namespace.annotate("service", "greeter", CONFIG, json.dumps(RETRIES, indent=2))
        messages = watch.wait(lambda message: json.loads(message.service_config) == RETRIES)
        namespace.annotate("service", "greeter", CONFIG, None)
        messages = watch.wait(lambda message: not message.service_config)
    assert len(messages) == 3
    assert all(len(message.servers) == 1 for message in messages)


def test_a_bad_service_config_is_refused_and_the_last_good_one_stays(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={}, annotations={CONFIG: json.dumps(ROUND_ROBIN)})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    name = f"greeter.{namespace.name}"
    catch_up(balancer, namespace)
    kind = {"kind": "Service", "annotation": CONFIG}
    before = balancer.metric("lookaside_refused_annotations_total", **kind)
    bad = '{"methodConfig": [{"timeout": "soon"}]}'
    namespace.annotate("service", "greeter", CONFIG, bad)
    catch_up(balancer, namespace)
    assert json.loads(balancer.get(name).service_config) == ROUND_ROBIN
    assert balancer.metric("lookaside_refused_annotations_total", **kind) == before + 1
    told = balancer.command("explain", name)
    assert told.returncode == 0, told.stderr
    [note] = [line for line in told.stdout.splitlines() if "is refused" in line]
    assert f"Service {namespace.name}/greeter: annotation {CONFIG} is refused: 'soon'" in note
    namespace.annotate("service", "greeter", CONFIG, json.dumps(RETRIES))
    balancer.wait(name, lambda message: json.loads(message.service_config) == RETRIES)
    assert not balancer.explain(name).notes


def test_a_service_config_that_was_never_good_is_not_sent(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={}, annotations={CONFIG: "round_robin"})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    catch_up(balancer, namespace)
    answer = balancer.get(f"greeter.{namespace.name}")
    assert (len(answer.servers), answer.service_config) == (1, "")
