"""Opens the connector to the node as the options say: the same for both of what vLLM loads."""
from __future__ import annotations

import os

import kvasir

from .affinity import threads_on
from .options import Options


def open_connector(options: Options) -> kvasir.Connector:
    """Waits for the node as long as `wait_connected` says. kvasir.Error: the library is not found, or refuses an option, or a node that was
    waited for speaks another protocol. ValueError: `cpus` names no processor that may be used here."""
    if options.library:
        os.environ["KVASIR_LIBRARY"] = options.library
    with threads_on(options.cpus):  # opening starts the library's threads
        return kvasir.Connector(options.endpoint, timeout=options.load_timeout, max_operations=options.max_operations,
                                hand_over=True,  # the engine's step pays for what the caller does
                                tls_ca_file=options.tls_ca_file or None, tls_cert_file=options.tls_cert_file or None,
                                tls_key_file=options.tls_key_file or None, tls_server_name=options.tls_server_name or None,
                                token_file=options.token_file or None, plain_token=options.plain_token == "on",
                                wait_connected=options.wait_connected, encode=kvasir.Encode[options.encode.upper()],
                                encode_planes=options.encode_planes, encode_threads=options.encode_threads,
                                encode_mib=options.encode_mib)
