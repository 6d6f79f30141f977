"""What vLLM loads in place of Kvasir's connector: the same, with an auditor."""
from audit import Audit
from kvasir_vllm.connector import KvasirConnector


class AuditedKvasirConnector(Audit, KvasirConnector):
    pass
