# One image for web, worker, clock, dashboard and the autocancel command; docker-compose.yml says which runs where.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/app

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt

# The command, without a build: a build would fetch tools that nobody pinned.
RUN printf '#!/bin/sh\nexec python -m workers.cli "$@"\n' > /usr/local/bin/autocancel \
    && chmod +x /usr/local/bin/autocancel \
    && useradd --system --uid 10001 --no-create-home autocancel

COPY workers workers
COPY receiver receiver

USER autocancel
CMD ["python", "-m", "receiver.main"]
