# One file, a target per kind of image:
#   base           gateway, recommendation (join and serve), lag, topics; without torch
#   inference      the four consumers and the fused worker, on CPUs: torch without CUDA's libraries, OpenVINO, the packs
#   inference-gpu  the same for GPUs: CUDA's libraries, and the C compiler with which Triton builds its launchers
# All run as user 10001 and write nowhere but under /tmp.

ARG PYTHON=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
FROM $PYTHON AS builder
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON=/opt/venv/bin/python
# pdqhash has no wheel for Linux. Debian's headers are for a base image whose Python is Debian's.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libpython3-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements/build.txt requirements/uv.txt requirements/
RUN python3.11 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/uv.txt \
    && /opt/uv/bin/uv venv --python /usr/local/bin/python3.11 /opt/venv
ENV PATH=/opt/uv/bin:$PATH

# --no-deps: the lists are complete, and rapidocr would ask for the OpenCV that needs a display.
FROM builder AS base-packages
COPY requirements/base.txt requirements/
# A sixth of what is installed is the packages' own tests and what debuggers read. The libraries that wheels bring in
# *.libs have been patched, and don't load once stripped.
RUN uv pip install --no-deps --require-hashes -r requirements/base.txt \
    && find /opt/venv -name tests -type d -prune -exec rm -r {} + \
    && find /opt/venv -name '*.so' -type f -not -path '*.libs/*' -exec strip --strip-debug {} +

FROM builder AS inference-packages
COPY requirements/inference-cpu.txt requirements/
RUN uv pip install --no-deps --build-constraints requirements/build.txt --require-hashes -r requirements/inference-cpu.txt
COPY scripts/without-cuda.py scripts/
RUN scripts/without-cuda.py /opt/venv/lib/python3.11/site-packages

FROM builder AS inference-gpu-packages
COPY requirements/inference.txt requirements/
RUN uv pip install --no-deps --build-constraints requirements/build.txt --require-hashes -r requirements/inference.txt

FROM builder AS vitrine
COPY LICENSE NOTICE pyproject.toml ./
# Of the commands those work that need neither `make run` nor training: worker, topics, groups, dlq, packs, taxonomy,
# import, search.
COPY shared shared
COPY services services
COPY client client
COPY cli cli
RUN uv pip install --no-deps --build-constraints requirements/build.txt --target /app . \
    && cp LICENSE NOTICE /app

FROM $PYTHON AS runtime
# HOME: libraries that keep a cache look there, and /tmp is the only place to write to.
ENV HOME=/tmp \
    PATH=/app/bin:/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    VITRINE_HOME=/var/lib/vitrine
# A fixed number, so that Kubernetes can tell that it isn't root.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin vitrine
WORKDIR /app
# Every service answers /readyz on its metrics port, which it must be given.
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=3 CMD ["python", "-c", \
    "from os import environ as e; from urllib.request import urlopen; urlopen('http://127.0.0.1:' + e['VITRINE_METRICS_PORT'] + '/readyz', timeout=4)"]
CMD ["vitrine", "--help"]

FROM runtime AS base
COPY --from=base-packages /opt/venv /opt/venv
COPY --from=vitrine /app /app
USER 10001:10001

FROM runtime AS inference-gpu
# Triton compiles a launcher for each kernel.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libpython3-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=inference-gpu-packages /opt/venv /opt/venv
COPY --from=vitrine /app /app
COPY models models
USER 10001:10001

# Last: what a build without --target makes.
FROM runtime AS inference
COPY --from=inference-packages /opt/venv /opt/venv
COPY --from=vitrine /app /app
COPY models models
# Converted once, here: a container may have nowhere to write to, and each would do it at its start.
RUN vitrine packs bench builtin
USER 10001:10001
