"""What the server counts, for Prometheus.

In: requests and replies as they end. Out: the text of `/metrics`. Nothing is refused, and nothing
that a person said is counted or kept: routes, numbers and seconds only.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import ProcessCollector as Process

FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BETWEEN_TOKENS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The figures of one server, in a registry of their own."""

    def __init__(self, active: Callable[[], float]) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "kindred_requests", "Answered requests.", ["route", "status"], registry=registry
        )
        self.first_token_s = Histogram(
            "kindred_first_token_seconds",
            "From a request to its first token, waiting included.",
            buckets=FIRST_TOKEN_S,
            registry=registry,
        )
        self.between_tokens_s = Histogram(
            "kindred_between_tokens_seconds",
            "From one token of a reply to the next, on average over the reply.",
            buckets=BETWEEN_TOKENS_S,
            registry=registry,
        )
        self.tokens = Counter(
            "kindred_tokens", "Tokens: prompt, cached (of the prompt), reply.", ["kind"],
            registry=registry,
        )  # fmt: skip
        self.endings = Counter(
            "kindred_replies", "Replies by how they ended.", ["ending"], registry=registry
        )
        self.guarded = Counter(
            "kindred_guard_fired", "Replies before which the guard named help.", registry=registry
        )
        queue = Gauge("kindred_active_requests", "Replies that run or wait now.", registry=registry)
        queue.set_function(active)
        Process(registry=registry)  # memory and processor time, on Linux

    def text(self) -> bytes:
        return generate_latest(self._registry)
