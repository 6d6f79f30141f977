"""docs/configuration.md is what kvasird itself prints."""
import os
import subprocess
import sys

import harness

page = os.path.join(os.environ["KVASIR_SOURCE"], "docs", "configuration.md")
printed = subprocess.run([harness.KVASIRD, "--print-docs=markdown"], capture_output=True, text=True, check=True,
                         timeout=harness.START_SECONDS).stdout
with open(page) as file:
    if file.read() != printed:
        sys.exit("docs/configuration.md is not current: write it anew with kvasird --print-docs=markdown")
