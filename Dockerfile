# syntax=docker/dockerfile:1
# The Python that the tests run on. To pin the very bytes, give the image with its digest:
#   docker build --build-arg PYTHON_IMAGE=python:3.11.13-slim-bookworm@sha256:... .
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

# tests/chart/test_image.py runs the RUN lines of this stage as they stand, with other folders.
FROM ${PYTHON_IMAGE} AS build
ENV UV_PYTHON=/usr/local/bin/python UV_LINK_MODE=copy UV_NO_CACHE=1
WORKDIR /src
COPY requirements-build.lock ./
RUN python -m pip install --no-cache-dir --no-deps --require-hashes --requirement requirements-build.lock
COPY requirements-runtime.lock ./
RUN uv pip sync --require-hashes --compile-bytecode --prefix /install requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN uv build --quiet --wheel --no-build-isolation --out-dir /dist . \
    && uv pip install --no-deps --compile-bytecode --prefix /install /dist/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Berth" \
      org.opencontainers.image.description="Keeps units of work assigned to the processes that do the work" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is installed in this image any more.
RUN python -m pip uninstall --yes --quiet setuptools wheel pip
COPY --from=build /install /usr/local
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that runAsNonRoot can tell; the user needs no name, no home and no right to write anywhere.
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["berth"]
CMD ["controller", "--metrics-port=8080", "--liveness-port=8081"]
