"""The fields of a gRPC service config, at every level, and the bounds of their values.

Written once, in protos/service_config/, and copied from there into both distributions by
`make protos`: so the service refuses exactly those fields that its clients would ignore, and
neither lets a value through that could harm the clients of a Service whose annotation sets it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from math import isfinite, isqrt
from types import MappingProxyType

__all__ = [
    "MAX_TABLE_SIZE",
    "OBJECTS",
    "POLICIES",
    "Field",
    "Form",
    "mistyped",
    "out_of_bounds",
    "unknown_fields",
]

MAX_TABLE_SIZE = 4096
"""Maximum number of entries in a ring or table, unless an application allows more (gRFC A42)."""

_MAX_DEPTH = 8
"""Maximum depth of policies wrapped around one another."""
_YEAR = 31_536_000.0
_MOST = 2**32 - 1
_LEAST_RING = 1024
_LARGEST_RING = 8_388_608
_LARGEST_TABLE = 5_000_011
_CODE_NAMES = frozenset(
    {
        *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
        *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
        *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
        "UNAUTHENTICATED",
    }
)
_SHOWN = 80
"""Maximum number of characters of a name in an error."""
_SECONDS = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?s")
_HEADER_NAME = re.compile(r"[a-z0-9_.-]*(?<!-bin)", re.ASCII | re.IGNORECASE)


class Form(Enum):
    """The form of a field's value, in the words of the error for any other.

    By protobuf's JSON mapping, a number may be a string, and a whole one be written as 5.0.
    """

    WHOLE = "a whole number"
    PRIME = "a prime"
    NUMBER = "a number"
    DURATION = 'a duration like "10s" or "1.5s"'
    TEXT = "a string"
    HEADER = "the name of a header of text, of letters, digits, - _ .,"
    FLAG = "true or false"
    CODES = "a list of gRPC status codes, by name or number,"
    OBJECT = "an object"
    POLICIES = "a list of one or more objects, each with one policy's name,"


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        inside: The name in `OBJECTS` of what the object that it has, or the objects that it lists,
            may have. Empty: it has neither.
        low: The least number, or seconds of a duration, that is allowed.
        high: The most.
        table: It is the size of a ring or table that every client builds.
        form: What its value must be. None: the code that reads it checks it.
        required: There is no default for it.
    """

    inside: str = ""
    low: float | None = None
    high: float | None = None
    table: bool = False
    form: Form | None = None
    required: bool = False


_PLAIN = Field()
_POLICIES = Field(inside="<policies>")
_CHILD = Field(inside="<policies>", form=Form.POLICIES, required=True)
_DURATION = Field(low=0.0, high=_YEAR, form=Form.DURATION)
_COUNT = Field(low=0, high=_MOST, form=Form.WHOLE)
_PERCENT = Field(low=0, high=100, form=Form.WHOLE)
_FLAG = Field(form=Form.FLAG)
_HEADER = {
    "requestHashHeader": Field(form=Form.HEADER),
    "endpointHashKey": Field(form=Form.TEXT),
}
_RING_SIZE = Field(low=1, high=_LARGEST_RING, table=True, form=Form.WHOLE)
_RING: Mapping[str, Field] = {"minRingSize": _RING_SIZE, "maxRingSize": _RING_SIZE, **_HEADER}
_SUBSET: Mapping[str, Field] = {
    "subsetSize": Field(low=1, high=_MOST, form=Form.WHOLE, required=True),
    "childPolicy": _CHILD,
}
_EJECTION = {"enforcementPercentage": _PERCENT, "minimumHosts": _COUNT, "requestVolume": _COUNT}
_OUTLIERS: Mapping[str, Field] = {
    # A sweep looks at every backend.
    "interval": Field(low=0.01, high=_YEAR, form=Form.DURATION),
    "baseEjectionTime": _DURATION,
    "maxEjectionTime": _DURATION,
    "maxEjectionPercent": _PERCENT,
    "successRateEjection": Field(inside="successRateEjection", form=Form.OBJECT),
    "failurePercentageEjection": Field(inside="failurePercentageEjection", form=Form.OBJECT),
    "consecutiveErrors": Field(low=1, high=_MOST, form=Form.WHOLE),
    "errorCodes": Field(form=Form.CODES),
}
_LEAST_REQUEST: Mapping[str, Field] = {
    "choiceCount": Field(low=2, high=100, form=Form.WHOLE),
    # RPCs in flight are raised to this power, which must stay a number.
    "activeRequestBias": Field(low=0, high=10, form=Form.NUMBER),
}

OBJECTS: Mapping[str, Mapping[str, Field]] = MappingProxyType(
    {
        "": {
            "loadBalancingConfig": _POLICIES,
            "loadBalancingPolicy": _PLAIN,
            "methodConfig": Field(inside="methodConfig"),
            "retryThrottling": Field(inside="retryThrottling"),
            "healthCheckConfig": Field(inside="healthCheckConfig"),
            "outlierDetection": Field(inside="outlierDetection"),
            "slowStart": Field(inside="slowStart"),
            "circuitBreaker": Field(inside="circuitBreaker"),
            "panicThreshold": _PLAIN,
            "localityPriorities": Field(inside="localityPriorities"),
        },
        "methodConfig": {
            "name": Field(inside="name"),
            "timeout": _DURATION,
            "waitForReady": _PLAIN,
            "maxRequestMessageBytes": _PLAIN,
            "maxResponseMessageBytes": _PLAIN,
            "retryPolicy": Field(inside="retryPolicy"),
            "hedgingPolicy": Field(inside="hedgingPolicy"),
        },
        "name": {"service": _PLAIN, "method": _PLAIN},
        "retryPolicy": {
            "maxAttempts": _PLAIN,
            "initialBackoff": _DURATION,
            "maxBackoff": _DURATION,
            "backoffMultiplier": Field(high=1000),
            "retryableStatusCodes": _PLAIN,
            "perAttemptRecvTimeout": _DURATION,
        },
        "hedgingPolicy": {
            "maxAttempts": _PLAIN,
            "hedgingDelay": _DURATION,
            "nonFatalStatusCodes": _PLAIN,
        },
        "retryThrottling": {"maxTokens": _PLAIN, "tokenRatio": Field(high=1000)},
        "healthCheckConfig": {"serviceName": _PLAIN},
        "outlierDetection": _OUTLIERS,
        "successRateEjection": {"stdevFactor": _COUNT, **_EJECTION},
        "failurePercentageEjection": {"threshold": _PERCENT, **_EJECTION},
        "slowStart": {
            # In each window, weights are set and pickers built many times.
            "window": Field(low=0.1, high=_YEAR),
            "aggression": Field(low=0.01, high=100),
            "minWeightPercent": _PLAIN,
        },
        "circuitBreaker": {
            "maxConnections": _PLAIN,
            "maxPendingRequests": _PLAIN,
            "maxRequests": _PLAIN,
            "maxRetries": _PLAIN,
        },
        "localityPriorities": {"levels": _PLAIN, "overprovisioningFactor": _PLAIN},
    }
)
"""The fields of each object, by the object's name. Empty: the service config itself."""

POLICIES: Mapping[str, Mapping[str, Field]] = MappingProxyType(
    {
        "least_request": _LEAST_REQUEST,
        "least_request_experimental": _LEAST_REQUEST,
        "maglev": {
            "tableSize": Field(low=2, high=_LARGEST_TABLE, table=True, form=Form.PRIME),
            **_HEADER,
        },
        "outlier_detection": {**_OUTLIERS, "childPolicy": _CHILD},
        "outlier_detection_experimental": {**_OUTLIERS, "childPolicy": _CHILD},
        # Below a millisecond, a latency would be forgotten before the next answer.
        "peak_ewma": {
            "decay": Field(low=0.001, high=_YEAR, form=Form.DURATION),
            "failurePenalty": _DURATION,
        },
        "pick_first": {"shuffleAddressList": _FLAG},
        "random": {},
        "random_subsetting": _SUBSET,
        "random_subsetting_experimental": _SUBSET,
        "ring_hash": _RING,
        "ring_hash_experimental": _RING,
        "round_robin": {},
        "weighted_round_robin": {
            "backendMetrics": _FLAG,
            "enableOobLoadReport": _FLAG,
            # Each backend sends a report as often.
            "oobReportingPeriod": Field(low=0.1, high=_YEAR, form=Form.DURATION),
            "blackoutPeriod": _DURATION,
            "weightExpirationPeriod": _DURATION,
            "weightUpdatePeriod": _DURATION,
            "errorUtilizationPenalty": Field(low=0, high=1_000_000, form=Form.NUMBER),
        },
    }
)
"""The fields of each load-balancing policy, by its name."""


def unknown_fields(config: Mapping[str, object], skipped: Sequence[str] = ()) -> Iterator[str]:
    """Name the fields that are not known, at every level, each with the one that may be meant.

    Args:
        config: A service config, as JSON gives it. What isn't of the right type is ignored.
        skipped: Policies whose own fields are not looked at, for they are the user's.

    Yields:
        For example "outlierDetection.consecutiveError is not known and has no effect: did you mean
        consecutiveErrors?".
    """
    for where, value, fields in _objects("", config, OBJECTS[""], skipped, 0):
        for name in sorted(value.keys() - fields.keys(), key=str):
            shown = str(name)[:_SHOWN]
            meant = _meant(shown, fields)
            hint = f": did you mean {meant}?" if meant else ""
            yield f"{_under(where, shown)} is not known and has no effect{hint}"


def mistyped(config: Mapping[str, object], skipped: Sequence[str] = ()) -> Iterator[str]:
    """Name the values that are of another form than their field wants, and what is missing.

    Args:
        config: A service config, as JSON gives it.
        skipped: Policies whose own fields are not looked at, for they are the user's.

    Yields:
        For example "loadBalancingConfig.least_request.choiceCount is 'many': a whole number is
        wanted".
    """
    for where, value, fields in _objects("", config, OBJECTS[""], skipped, 0):
        for name, field in fields.items():
            given = value.get(name)
            if given is None:
                if field.required:
                    yield f"{_under(where, name)} is missing"
            elif field.form is not None and not _has_form(given, field.form):
                shown = repr(given)[:_SHOWN]
                yield f"{_under(where, name)} is {shown}: {field.form.value} is wanted"


def out_of_bounds(
    config: Mapping[str, object],
    skipped: Sequence[str] = (),
    max_table_size: int | None = None,
) -> Iterator[str]:
    """Name the values that could do harm, and policies that are nested too deep.

    What has another form than its field wants is not looked at here.

    Args:
        config: A service config, as JSON gives it.
        skipped: Policies whose own fields are not looked at, for they are the user's.
        max_table_size: How many entries a ring or table may have. None: sizes are not looked at.

    Yields:
        For example "outlierDetection.interval is '0.0001s': from 0.01s to 31536000s is allowed".
    """
    for where, value, fields in _objects("", config, OBJECTS[""], skipped, 0):
        for name, field in fields.items():
            given = value.get(name)
            number, unit = _number(given)
            path = _under(where, name)
            if given is not None and path.count("childPolicy") > _MAX_DEPTH:
                yield f"{path}: more than {_MAX_DEPTH} policies are wrapped around one another"
            elif number is None:
                continue
            elif field.table and max_table_size is not None and number > max_table_size:
                yield f"{path} is {given!r}: clients build no table of more than {max_table_size}"
            elif not _within(number, field):
                yield f"{path} is {given!r}: {_allowed(field, unit)} is allowed"
        if fields is _RING:
            least, _ = _number(value.get("minRingSize", _LEAST_RING))
            most, _ = _number(value.get("maxRingSize"))
            if least is not None and most is not None and least > most:
                yield f"{_under(where, 'minRingSize')} is {least:.10g}, more than maxRingSize"


def _objects(
    where: str,
    value: Mapping[str, object],
    fields: Mapping[str, Field],
    skipped: Sequence[str],
    depth: int,
) -> Iterator[tuple[str, Mapping[str, object], Mapping[str, Field]]]:
    """Give every object whose fields are known: where it is, itself, and its fields."""
    yield where, value, fields
    for name, field in fields.items():
        found = value.get(name)
        if not field.inside or depth > _MAX_DEPTH:
            continue
        path = _under(where, name)
        for place, item in _items(path, found):
            if field.inside != _POLICIES.inside:
                yield from _objects(place, item, OBJECTS[field.inside], skipped, depth)
                continue
            for policy, settings in item.items():
                inside = POLICIES.get(policy)
                if inside is not None and policy not in skipped and isinstance(settings, Mapping):
                    below = f"{path}.{policy}"
                    yield from _objects(below, settings, inside, skipped, depth + 1)


def _items(path: str, value: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    if isinstance(value, Mapping):
        yield path, value
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            if isinstance(item, Mapping):
                yield f"{path}[{place}]", item


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _meant(name: str, fields: Mapping[str, Field]) -> str:
    plain = {field.lower(): field for field in fields}
    found = get_close_matches(name.replace("_", "").lower(), plain, 1)
    return plain[found[0]] if found else ""


def _number(value: object) -> tuple[float | None, str]:
    """Return a number, or the seconds of a duration, with its unit. None: it is neither."""
    if isinstance(value, bool):
        return None, ""
    unit = ""
    if isinstance(value, str):
        found = re.fullmatch(r"(-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]+)?)(s?)", value)
        if found is None:
            return None, ""
        value, unit = float(found[1]), found[2]
    if isinstance(value, int | float):
        try:
            return float(value), unit
        except OverflowError:
            return float("inf"), unit
    return None, ""


def _has_form(value: object, form: Form) -> bool:
    holds = _FORMS.get(form)
    return _is_number(value, form) if holds is None else holds(value)


def _is_number(value: object, form: Form) -> bool:
    number, unit = _number(value)
    if number is None or unit:
        return False
    # What isn't finite is within no bounds.
    if form is Form.NUMBER or not isfinite(number):
        return True
    return number.is_integer() and (form is Form.WHOLE or _is_prime(int(number)))


def _is_duration(value: object) -> bool:
    return isinstance(value, str) and bool(_SECONDS.fullmatch(value))


def _are_policies(value: object) -> bool:
    if not isinstance(value, list | tuple):
        return False
    return bool(value) and all(isinstance(one, Mapping) and len(one) == 1 for one in value)


def _is_prime(number: int) -> bool:
    if not 2 <= number <= _LARGEST_TABLE:
        # That is said of its bounds.
        return True
    return all(number % divisor for divisor in range(2, isqrt(number) + 1))


def _is_code(value: object) -> bool:
    if isinstance(value, str):
        return value.upper() in _CODE_NAMES
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(_CODE_NAMES)


_FORMS: Mapping[Form, Callable[[object], bool]] = MappingProxyType(
    {
        Form.DURATION: _is_duration,
        Form.TEXT: lambda value: isinstance(value, str),
        Form.HEADER: lambda value: isinstance(value, str) and bool(_HEADER_NAME.fullmatch(value)),
        Form.FLAG: lambda value: isinstance(value, bool),
        Form.CODES: lambda value: isinstance(value, list | tuple) and all(map(_is_code, value)),
        Form.OBJECT: lambda value: isinstance(value, Mapping),
        Form.POLICIES: _are_policies,
    }
)
"""The JSON types of each form that isn't a number."""


def _within(number: float, field: Field) -> bool:
    # Written so that NaN is not within any bounds.
    low = field.low is None or number >= field.low
    return low and (field.high is None or number <= field.high)


def _allowed(field: Field, unit: str) -> str:
    if field.low is None:
        return f"at most {field.high:.10g}{unit}"
    return f"from {field.low:.10g}{unit} to {field.high:.10g}{unit}"
