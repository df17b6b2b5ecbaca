# The image of the service. The chart takes it by this name:
#
#   docker build --tag lookaside/lookaside:0.1.0 .
#
# A release is built from one exact base, so that it can be built again. RELEASE=1 refuses to build
# without a digest, and this finds the one that the tag has today:
#
#   docker buildx imagetools inspect python:3.13-slim --format '{{.Manifest.Digest}}'
#   docker build --build-arg RELEASE=1 --build-arg PYTHON_DIGEST=sha256:… \
#       --build-arg REVISION="$(git rev-parse HEAD)" --tag lookaside/lookaside:0.1.0 .
#
# The bill of materials of what is installed, as dist/lookaside.cdx.json (CycloneDX):
#
#   docker build --target sbom --output type=local,dest=dist .
#
# Try it:
#
#   docker run --rm --read-only --cap-drop ALL --volume "$PWD/examples:/etc/lookaside:ro" \
#       --publish 50052:50052 --publish 9090:9090 \
#       lookaside/lookaside:0.1.0 serve --source file:/etc/lookaside/endpoints.yaml

ARG PYTHON_IMAGE=python:3.13-slim
ARG PYTHON_DIGEST=
ARG PREFIX=/opt/lookaside

FROM ${PYTHON_IMAGE}${PYTHON_DIGEST:+@${PYTHON_DIGEST}} AS base
ARG RELEASE=
ARG PYTHON_DIGEST
RUN [ -z "${RELEASE}" ] || [ -n "${PYTHON_DIGEST}" ] || \
    { echo "a release needs --build-arg PYTHON_DIGEST=sha256:..., see the Dockerfile" >&2; exit 1; }

FROM base AS build
ARG PREFIX
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/image.txt requirements/runtime.txt requirements/
RUN pip install --no-cache-dir --require-hashes --only-binary=:all: -r requirements/image.txt
RUN python -m venv --without-pip "${PREFIX}" && \
    pip --python "${PREFIX}/bin/python" install --no-cache-dir --no-compile \
        --require-hashes --only-binary=:all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY lookaside lookaside
# By hash and unchecked: the bytecode of an image can't be out of date, and nothing is compared.
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . && \
    pip --python "${PREFIX}/bin/python" install --no-cache-dir --no-compile --no-deps dist/*.whl && \
    "${PREFIX}/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "${PREFIX}/lib"

FROM build AS bill
RUN cyclonedx-py environment --pyproject pyproject.toml --mc-type application \
        --output-reproducible --output-file lookaside.cdx.json "${PREFIX}/bin/python"

FROM scratch AS sbom
COPY --from=bill /build/lookaside.cdx.json /

FROM base AS service
ARG PREFIX
ARG PYTHON_IMAGE
ARG PYTHON_DIGEST
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="lookaside" \
      org.opencontainers.image.description="A lookaside load balancer for gRPC on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.base.digest="${PYTHON_DIGEST}"
# A user without a name has no home by itself, and the Kubernetes client looks for one.
ENV PATH="${PREFIX}/bin:${PATH}" HOME=/ PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build ${PREFIX} ${PREFIX}
# A number, so that Kubernetes can tell that it isn't root's. Nothing of the image is this user's.
USER 65532:65532
EXPOSE 50052 9090
STOPSIGNAL SIGTERM
# Over HTTP, which needs neither TLS nor a token. Ready is said once, and holds until the service
# stops: one that has lost its source stays healthy and serves its last lists.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-IS", "-c", "from http.client import HTTPConnection as H; c = H('127.0.0.1', 9090, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["lookaside"]
CMD ["serve"]
