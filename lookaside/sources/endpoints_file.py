"""The format of the static endpoints file: its text in, records out. No I/O.

::

    services:
      greeter.grpc-services:
        endpoints:
          - address: 127.0.0.1:50061
            weight: 50
            zone: eu-1a
            node: worker-3
            metadata: {version: v2}
        service_config: |
          {"loadBalancingConfig": [{"least_request": {}}]}
"""

from lookaside.config import document
from lookaside.config.document import Items, Node, Place, Scalar, Table
from lookaside.errors import InvalidServiceName
from lookaside.model import (
    DEFAULT_WEIGHT,
    MAX_WEIGHT,
    Endpoint,
    Health,
    Locality,
    ServiceKey,
    ServiceName,
    ServicePort,
    ServiceRecord,
    canonical_host,
)
from lookaside.policy.service_config import parse_service_config

_ENDPOINT_KEYS = ("address", "weight", "zone", "node", "metadata")
_ADDRESS_FORM = "HOST:PORT, an IPv6 address in brackets"


def parse(
    text: str,
    path: str,
    *,
    default_namespace: str = "default",
    cluster_domain: str = "cluster.local",
) -> list[ServiceRecord]:
    """Read the text of an endpoints file.

    Args:
        text: The whole text.
        path: The name of the file, for errors.
        default_namespace: The namespace of a service that is written without one.
        cluster_domain: The domain that full service names end in.

    Returns:
        The services in the order of the file, each with its endpoints in ascending order.

    Raises:
        ConfigError: The text is not as it must be; the error names file, line and column. Nothing
            of a file with an error is returned.
    """
    root = document.read(text, path)
    if root is None:
        raise Place(path, 1, 1).error("the file is empty; expected the key 'services'")
    top = _table(root, "the file")
    top.refuse_unknown(("services",))
    if "services" not in top.values:
        raise top.place.error("the key 'services' is missing")
    records: dict[ServiceKey, ServiceRecord] = {}
    services = _table_or_nothing(top.values["services"], "services")
    for name, node in services.values.items():
        place = services.places[name]
        try:
            service = ServiceName.parse(
                name, default_namespace=default_namespace, cluster_domain=cluster_domain
            )
        except InvalidServiceName as error:
            raise place.error(str(error)) from error
        if service.port:
            raise place.error(f"service name {name!r}: a service has no port in this file")
        if service.key in records:
            raise place.error(f"the service {service.key} is given a second time")
        records[service.key] = _record(service.key, node, f"service {name!r}")
    return list(records.values())


def _record(key: ServiceKey, node: Node, what: str) -> ServiceRecord:
    table = _table(node, what)
    table.refuse_unknown(("endpoints", "service_config"))
    if "endpoints" not in table.values:
        raise table.place.error(f"{what}: the key 'endpoints' is missing; [] is for none")
    items = table.values["endpoints"]
    if not isinstance(items, Items):
        raise items.place.error(
            f"{what}: {document.describe(items)} as its endpoints; expected a list, [] for none"
        )
    endpoints: dict[tuple[str, int], Endpoint] = {}
    for each in items.values:
        endpoint = _endpoint(each, what)
        if (endpoint.address, endpoint.port) in endpoints:
            raise each.place.error(f"{what}: the address {endpoint.target} is given twice")
        endpoints[endpoint.address, endpoint.port] = endpoint
    ordered = tuple(sorted(endpoints.values()))
    return ServiceRecord(
        key=key,
        ports=(ServicePort(),),
        endpoints={"": ordered},
        service_config=_service_config(table.values.get("service_config"), what),
    )


def _service_config(node: Node | None, what: str) -> str:
    text = _text(node, f"{what}: service_config")
    if node is None or not text:
        return ""
    try:
        return parse_service_config(text)
    except ValueError as error:
        raise node.place.error(f"{what}: service_config: {error}") from error


def _endpoint(node: Node, what: str) -> Endpoint:
    table = _table(node, f"{what}: an endpoint")
    table.refuse_unknown(_ENDPOINT_KEYS)
    if "address" not in table.values:
        raise table.place.error(f"{what}: the key 'address' is missing; expected {_ADDRESS_FORM}")
    host, port = _address(table.values["address"])
    return Endpoint(
        address=host,
        port=port,
        weight=_weight(table.values.get("weight")),
        health=Health.UNSPECIFIED,
        locality=Locality(
            zone=_text(table.values.get("zone"), "zone"),
            node=_text(table.values.get("node"), "node"),
        ),
        metadata=_metadata(table.values.get("metadata")),
    )


def _address(node: Node) -> tuple[str, int]:
    text = _text(node, "address")
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not bracketed:
        raise node.place.error(f"address {text!r}: expected {_ADDRESS_FORM}")
    if not (port.isascii() and port.isdecimal() and host):
        raise node.place.error(f"address {text!r}: expected {_ADDRESS_FORM}")
    if not (len(port) <= 5 and 0 < int(port) < 65536):
        raise node.place.error(f"address {text!r}: port {port} is not within 1 to 65535")
    try:
        canonical = canonical_host(host[1:-1] if bracketed else host)
    except ValueError as error:
        raise node.place.error(f"address {text!r}: {error}") from error
    if bracketed and ":" not in canonical:
        raise node.place.error(f"address {text!r}: brackets are for IPv6 addresses")
    return canonical, int(port)


def _weight(node: Node | None) -> int:
    text = _text(node, "weight")
    if node is None or not text:
        return DEFAULT_WEIGHT
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= MAX_WEIGHT):
        raise node.place.error(f"weight {text!r}: expected a whole number, 0 to {MAX_WEIGHT}")
    return int(text)


def _metadata(node: Node | None) -> tuple[tuple[str, str], ...]:
    if node is None:
        return ()
    table = _table_or_nothing(node, "metadata")
    return tuple(sorted((key, _text(value, key)) for key, value in table.values.items()))


def _text(node: Node | None, what: str) -> str:
    if node is None or (isinstance(node, Scalar) and node.is_null):
        return ""
    if not isinstance(node, Scalar):
        raise node.place.error(f"{what}: {document.describe(node)}; expected text")
    return node.text


def _table(node: Node, what: str) -> Table:
    if not isinstance(node, Table):
        raise node.place.error(f"{what} is {document.describe(node)}; expected a mapping")
    return node


def _table_or_nothing(node: Node, what: str) -> Table:
    if isinstance(node, Scalar) and node.is_null:
        return Table(node.place)
    return _table(node, what)
