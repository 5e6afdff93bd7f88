"""What the receiver counts about itself, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MILLISECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters and histograms by name; `text` is what Prometheus scrapes."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.deliveries = Counter(
            "autocancel_deliveries",
            "Verified deliveries by what became of them",
            ["result", "stored_as"],
            registry=registry,
        )
        self.rejections = Counter(
            "autocancel_rejections", "Requests turned away, by reason", ["reason"], registry=registry
        )
        self.secret_hits = Counter(
            "autocancel_secret_hits",
            "Verified deliveries by the secret that signed them",
            ["label"],
            registry=registry,
        )
        self.bad_secret_files = Counter(
            "autocancel_secret_files_refused",
            "New versions of the secrets file that could not be used",
            registry=registry,
        )
        self.batch_rows = Histogram(
            "autocancel_inbox_batch_rows", "Deliveries per inbox transaction", buckets=ROWS, registry=registry
        )
        self.ack_seconds = Histogram(
            "autocancel_ack_seconds",
            "From the first look at a request to its 202",
            buckets=MILLISECONDS,
            registry=registry,
        )
        self.waiting = Gauge(
            "autocancel_intake_waiting", "Deliveries waiting for the writer", registry=registry
        )
        self.pushes_dropped = Counter(
            "autocancel_queue_ids_dropped",
            "Rows not announced on the queue; the sweep finds them",
            registry=registry,
        )

    def text(self) -> bytes:
        return generate_latest(self._registry)
