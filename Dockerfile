# Every image of ours, one target each; docker-compose.yml builds them. Bases are pinned by version: a digest would be
# firmer, and is one `docker buildx imagetools inspect` away for whoever has a registry to ask.
# Lean: what builds stays behind, no cache is kept, no pip in what runs, nothing runs as root.

FROM python:3.11.15-slim-bookworm AS python
# 3.11 as in the tests. Nothing is written beside the code, and what is printed is seen at once.
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp

FROM python AS build
WORKDIR /build
COPY requirements/constraints.txt ./
# Every version is pinned there, also of what builds our packages.
ENV PIP_CONSTRAINT=/build/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv && pip install --quiet --upgrade pip setuptools
COPY LICENSE ./
COPY sdk sdk

FROM build AS build-demo
COPY alerts alerts
RUN pip install --quiet --no-build-isolation \
    "./sdk[fastapi,flask,httpx,sqlalchemy,redis,huey]" ./alerts \
    uvicorn httptools uvloop waitress "sqlalchemy[asyncio]" "psycopg[binary]" \
 && pip uninstall --quiet --yes setuptools pip

FROM build AS build-rum
COPY rum rum
RUN pip install --quiet --no-build-isolation ./sdk "./rum[server]" \
 && pip uninstall --quiet --yes setuptools pip

FROM python AS service
COPY scripts/with-secrets scripts/answers /usr/local/bin/
WORKDIR /srv
USER 10001:10001
ENTRYPOINT ["with-secrets"]
# Every service of ours has /metrics on this port; compose asks what it serves where it serves something.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["answers", "http://127.0.0.1:9464/metrics"]

FROM service AS demo
COPY --from=build-demo /venv /venv
COPY alerts/slos.yml alerts/
COPY demo_app demo_app
USER root
# Named volumes begin as these folders, with their owner.
RUN install -d -o 10001 -g 10001 /var/lib/shop /var/lib/alerts
USER 10001:10001

FROM service AS rum
COPY --from=build-rum /venv /venv
CMD ["python", "-m", "firstcause_rum", "--host", "0.0.0.0"]

# The Collector's image is empty but for the Collector: no place that its user may write, nothing to ask it with.
FROM busybox:1.37.0-musl AS probe
RUN mkdir /data

FROM otel/opentelemetry-collector-contrib:0.145.0 AS collector
COPY --from=probe /bin/busybox /bin/wget
COPY --from=probe --chown=10001:10001 /data /var/lib/collector
USER 10001:10001
HEALTHCHECK CMD ["wget", "-q", "--spider", "http://127.0.0.1:13133/"]

# Jaeger's and Loki's run as a user that owns no folder: each gets one for its volume.
FROM jaegertracing/jaeger:2.0.0 AS jaeger
COPY --from=probe --chown=10001:10001 /data /var/lib/jaeger
USER 10001:10001
HEALTHCHECK CMD ["wget", "-q", "--spider", "http://127.0.0.1:13133/status"]

FROM grafana/loki:3.7.8 AS loki
COPY --from=probe --chown=10001:10001 /data /var/lib/loki
USER 10001:10001
HEALTHCHECK CMD ["/usr/bin/loki", "-health"]
