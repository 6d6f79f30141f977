"""What the scheduler's side tells the workers each step, and what they answer. Plain data that pickles."""
from __future__ import annotations

from dataclasses import dataclass, field

from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata, KVConnectorWorkerMetadata

from .orders import Report, StepOrders


@dataclass
class StepMetadata(KVConnectorMetadata):
    """Scheduler to workers, with every step."""

    orders: StepOrders = field(default_factory=StepOrders)


@dataclass
class WorkerMetadata(KVConnectorWorkerMetadata):
    """A worker to the scheduler; vLLM adds those of all ranks up."""

    report: Report = field(default_factory=Report)

    def aggregate(self, other: KVConnectorWorkerMetadata) -> KVConnectorWorkerMetadata:
        if isinstance(other, WorkerMetadata):
            self.report.add(other.report)
        return self
