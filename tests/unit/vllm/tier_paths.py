"""Makes connector/vllm importable for the tests of the tier."""
import os
import sys

sys.path.insert(0, os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "connector", "vllm")))
