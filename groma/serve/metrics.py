"""Figures of a server, as Prometheus collects them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from groma.chat.conversation import GroundedReply
from groma.serve.engine import Engine

_SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counts what is answered, and asks the engine for the rest.

    Args:
        engine: that is watched.
    """

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, on Linux
        self._answers = Counter(
            "groma_answers", "Answers by why they end.", ["finish"], registry=self.registry
        )
        self._seconds = Histogram(
            "groma_answer_seconds", "Of whole answers.", buckets=_SECONDS, registry=self.registry
        )
        gauges = {
            "groma_answering": ("Answers that are being made.", lambda: engine.counts.answering),
            "groma_steps": ("Steps of the language model.", lambda: engine.counts.steps),
            "groma_tokens": ("Tokens that these steps read.", lambda: engine.counts.tokens),
            "groma_pictures": ("Pictures encoded.", lambda: engine.counts.pictures),
            "groma_kept_bytes": ("Pictures and caches kept.", lambda: engine.num_bytes),
        }
        for name, (meaning, value) in gauges.items():
            Gauge(name, meaning, registry=self.registry).set_function(value)

    def see(self, reply: GroundedReply, seconds: float) -> None:
        """Count an answer once it ends."""
        if reply.finish != "streaming":
            self._answers.labels(reply.finish).inc()
            self._seconds.observe(seconds)
