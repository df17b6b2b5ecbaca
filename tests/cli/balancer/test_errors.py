"""What gRPC's core says of a failed call, and what the user is told."""

import grpc
import pytest

from lookaside.cli.balancer.errors import refused
from lookaside.cli.errors import FAILED, UNAVAILABLE

FAILED_TO = "failed to connect to all addresses; last error: "
WHERE = "--address or LOOKASIDE_ADDRESS says where it is"
TLS = f"{FAILED_TO}UNKNOWN: ipv4:127.0.0.1:1: Tls handshake failed (TSI_PROTOCOL_FAILURE): "


def error(code: grpc.StatusCode, details: str | None) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


@pytest.mark.parametrize(
    ("details", "secure", "sentence"),
    [
        (
            f"{FAILED_TO}UNKNOWN: ipv4:127.0.0.1:1: connect: Connection refused (111)",
            False,
            f"connection refused; {WHERE}",
        ),
        (
            (
                "errors resolving nowhere.invalid:1: [field:hostname lookup error:address lookup "
                "failed for nowhere.invalid:1: Domain name not found]"
            ),
            False,
            f"the name does not resolve; {WHERE}",
        ),
        (
            "DNS resolution failed for nowhere.invalid:1: C-ares status is not ARES_SUCCESS",
            False,
            f"the name does not resolve; {WHERE}",
        ),
        (
            (
                f"{FAILED_TO}INTERNAL: ipv4:127.0.0.1:1: Failed parsing HTTP/2 (Expected SETTINGS "
                "frame as the first frame, got frame type 80) (Trying to connect an http1.x "
                "server (HTTP status 400))"
            ),
            False,
            (
                "the server there does not speak gRPC; is that the admin port? gRPC is on 50052 "
                "unless --listen sets another port"
            ),
        ),
        (
            (
                f"{TLS}SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:"
                "WRONG_VERSION_NUMBER: Invalid certificate verification context: OK"
            ),
            True,
            "the server there does not use TLS; use --plaintext",
        ),
        (
            f"{FAILED_TO}UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed",
            False,
            "the connection was closed at once; if it uses TLS, set --tls or --cacert",
        ),
        (
            f"{FAILED_TO}UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed",
            True,
            (
                "the connection was closed at once; if it requires a client certificate, "
                "set --cert and --key"
            ),
        ),
        (
            (
                f"{TLS}SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
                "CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate: OK"
            ),
            True,
            "its certificate is signed by an unknown authority; set it with --cacert",
        ),
        (
            (
                f"{TLS}SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
                "CERTIFICATE_VERIFY_FAILED: certificate has expired: OK"
            ),
            True,
            "its certificate has expired; the balancer needs a new one",
        ),
        (
            (
                f"{FAILED_TO}UNKNOWN: ipv4:127.0.0.1:1: Custom verification check failed with "
                "error: UNAUTHENTICATED: Hostname Verification Check failed."
            ),
            True,
            "its certificate has another name; set the expected name with --authority",
        ),
        (
            f"{TLS}Cannot check peer: missing selected ALPN property.",
            True,
            "the server there speaks TLS, but not gRPC; is there a proxy in between?",
        ),
        ("Socket closed", False, f"the connection closed; {WHERE}"),
        ("GOAWAY received", True, f"the connection closed; {WHERE}"),
        (f"{FAILED_TO}UNKNOWN: something new", False, f"something new; {WHERE}"),
    ],
)
def test_a_balancer_that_is_not_reached_has_a_cause_and_a_hint(
    details: str, secure: bool, sentence: str
) -> None:
    failure = refused(error(grpc.StatusCode.UNAVAILABLE, details), "b:1", secure=secure)

    assert failure.message == f"can't reach the balancer at b:1: {sentence}"
    assert (failure.exit_code, failure.passing) == (UNAVAILABLE, True)


def test_an_answer_without_words_is_still_a_sentence() -> None:
    failure = refused(error(grpc.StatusCode.DATA_LOSS, None), "b:1")

    assert failure.message == "the balancer at b:1 says data loss: no reason given"
    assert (failure.exit_code, failure.passing) == (FAILED, False)


def test_an_error_of_another_kind_is_told_as_it_is() -> None:
    assert refused(grpc.RpcError("odd"), "b:1").message == "odd"
