FROM node:22-slim AS browser
WORKDIR /src
COPY . .
WORKDIR /src/js
RUN npm ci && npm run browser

FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
COPY --from=browser /src/aicli/_bundled/page aicli/_bundled/page
RUN python -m venv /opt/aicli && /opt/aicli/bin/pip install --no-cache-dir '.[serve]'

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home aicli && install -d -o aicli -g aicli /data
COPY --from=build /opt/aicli /opt/aicli
ENV PATH=/opt/aicli/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    AICLI_CACHE_DIR=/data/cache \
    AICLI_MODELS_DIR=/data/models
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["aicli", "serve", "--host", "0.0.0.0", "--data", "/data/uploads"]
