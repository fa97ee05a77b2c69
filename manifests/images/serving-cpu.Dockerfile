# Ray's nodes on CPUs with a tiny model inside, for the overlay `local`.
# From the repository's root: docker build -f manifests/images/serving-cpu.Dockerfile -t foreserve/serving:local .
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends libnuma1 libgomp1 libatomic1 wget \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/local.lock requirements/torch-cpu.lock /tmp/
RUN pip install --no-cache-dir --no-deps --extra-index-url https://download.pytorch.org/whl/cpu -r /tmp/torch-cpu.lock \
    && pip install --no-cache-dir --require-hashes -r /tmp/local.lock
COPY serving /opt/foreserve/serving
ENV PYTHONPATH=/opt/foreserve PYTHONUNBUFFERED=1
RUN python -m serving.tiny_model /opt/tiny-model && useradd --create-home --uid 1000 ray
USER ray
