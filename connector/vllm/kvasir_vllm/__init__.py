"""Kvasir for vLLM. vLLM loads `kvasir_vllm.connector`; nothing is imported here, so that the parts without vLLM stay so."""
