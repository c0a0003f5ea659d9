# One file, a target per kind of image:
#   base       gateway, recommendation (join and serve), lag, topics; without torch
#   inference  the four consumers and the fused worker; torch, OpenVINO and the packs
# Both run as user 10001 and write nowhere but under /tmp.

FROM python:3.11.14-slim-bookworm AS builder
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON=/opt/venv/bin/python
RUN pip install --no-cache-dir uv==0.13.9 && uv venv --python /usr/local/bin/python3.11 /opt/venv
WORKDIR /build

FROM builder AS base-packages
COPY requirements/base.txt requirements/
# --no-deps: the list is complete, and rapidocr would ask for the OpenCV that needs a display.
RUN uv pip install --no-deps --require-hashes -r requirements/base.txt

FROM builder AS inference-packages
COPY requirements/inference.txt requirements/
RUN uv pip install --no-deps --require-hashes -r requirements/inference.txt

FROM python:3.11.14-slim-bookworm AS runtime
# HOME: libraries that keep a cache look there, and /tmp is the only place to write to.
ENV HOME=/tmp \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VITRINE_HOME=/var/lib/vitrine
# A fixed number, so that Kubernetes can tell that it isn't root.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin vitrine
WORKDIR /app
# Every service answers /readyz: on its metrics port, the gateway on its only one.
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=3 CMD ["python", "-c", \
    "from os import environ as e; from urllib.request import urlopen; urlopen('http://127.0.0.1:' + (e.get('VITRINE_METRICS_PORT') or e.get('VITRINE_HTTP_PORT', '8080')) + '/readyz', timeout=4)"]
CMD ["vitrine", "--help"]

FROM runtime AS base
COPY --from=base-packages /opt/venv /opt/venv
COPY LICENSE NOTICE pyproject.toml ./
COPY shared shared
COPY services services
# After the packages, so that a change of source rebuilds only what is below; uv and the pins are borrowed, not kept.
RUN --mount=type=bind,from=builder,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=type=bind,source=requirements/inference.txt,target=/mnt/pins.txt \
    uv pip install --no-cache --python /opt/venv/bin/python --no-deps --build-constraints /mnt/pins.txt --editable . \
    && python -m compileall -q shared services
USER 10001:10001

FROM runtime AS inference
COPY --from=inference-packages /opt/venv /opt/venv
COPY LICENSE NOTICE pyproject.toml ./
COPY models models
COPY shared shared
COPY services services
RUN --mount=type=bind,from=builder,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=type=bind,source=requirements/inference.txt,target=/mnt/pins.txt \
    uv pip install --no-cache --python /opt/venv/bin/python --no-deps --build-constraints /mnt/pins.txt --editable . \
    && python -m compileall -q shared services
# Converted once, here: a container may have nowhere to write to, and each would do it at its start.
RUN vitrine packs bench builtin
USER 10001:10001
