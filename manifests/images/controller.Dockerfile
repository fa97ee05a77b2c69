# The controller. From the repository's root: docker build -f manifests/images/controller.Dockerfile -t TAG .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/foreserve
COPY requirements/base.lock requirements/
RUN /opt/foreserve/bin/pip install --no-cache-dir --require-hashes -r requirements/base.lock
COPY pyproject.toml README.md LICENSE ./
COPY controller controller
COPY serving serving
COPY alerts alerts
COPY dashboards dashboards
RUN /opt/foreserve/bin/pip install --no-cache-dir --no-deps . \
    && /opt/foreserve/bin/python -m compileall -q /opt/foreserve/lib

FROM python:3.11-slim-bookworm
COPY --from=build /opt/foreserve /opt/foreserve
ENV PATH=/opt/foreserve/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["foreserve"]
CMD ["run"]
