"""What the server counts, in Prometheus' form."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Gauges:
    """One server's; nothing in the process is shared with another's."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "lowlight_requests", "Requests answered, 499: its sender went.", ["path", "status"], registry=registry
        )
        self.latency = Histogram(
            "lowlight_request_seconds", "From a request to its answer.", ["path"], buckets=_SECONDS, registry=registry
        )
        self.work = Histogram(
            "lowlight_work_seconds", "Of a worker with a picture.", ["model"], buckets=_SECONDS, registry=registry
        )
        self.pixels = Counter("lowlight_pixels", "Pixels brightened.", ["model"], registry=registry)
        self.dropped = Counter(
            "lowlight_dropped", "Pictures that nobody waited for when their turn came.", registry=registry
        )
        self.taken = Gauge("lowlight_places_taken", "Pictures on their way in, waiting and in work.", registry=registry)
        self.waiting = Gauge("lowlight_queue_depth", "Pictures that wait for a worker.", registry=registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)
