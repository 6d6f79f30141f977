"""Opens the connector to the node as the options say: the same for both of what vLLM loads."""
from __future__ import annotations

import os

import kvasir

from .options import Options


def open_connector(options: Options) -> kvasir.Connector:
    """Does not wait for the node. kvasir.Error: the library is not found, or refuses an option."""
    if options.library:
        os.environ["KVASIR_LIBRARY"] = options.library
    return kvasir.Connector(options.endpoint, timeout=options.load_timeout, max_operations=options.max_operations,
                            tls_ca_file=options.tls_ca_file or None, tls_cert_file=options.tls_cert_file or None,
                            tls_key_file=options.tls_key_file or None, tls_server_name=options.tls_server_name or None)
