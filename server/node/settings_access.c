/* settings_access.c: where clients reach the node, and who they have to be. */
#include "server/node/settings_rows.h"

#define SUN_PATH_MAX 107 /* of struct sockaddr_un */

static const kvi_config_row rows[] = {
    {.name = "listen",
     AT(LIST, listen),
     .standard = "127.0.0.1:7070",
     .min = 0,
     .max = 8,
     .doc = "TCP addresses that clients connect to, each as `host:port`; IPv6 as `[::1]:7070`. For all "
            "addresses of both kinds list `0.0.0.0` and `[::]`. Port 0 takes any free port and says which in "
            "the log. An address that is not loopback needs TLS or `insecure: true`."},
    {.name = "unix_socket",
     AT(STRING, unix_socket),
     .standard = "/run/kvasir/kvasird.sock",
     .min = 0,
     .max = SUN_PATH_MAX,
     .doc = "Path of the unix socket for clients on the same host; empty for none. Its directory is created "
            "if it is missing and its parent may be written. A stale socket is replaced, one that another "
            "process listens on is not."},
    {.name = "unix_mode",
     AT(STRING, unix_mode),
     .standard = "0660",
     .min = 3,
     .max = 4,
     .doc = "Permissions of the unix socket, as three or four octal digits. Whoever may write to it may use "
            "the node."},
    {.name = "insecure",
     AT(BOOL, insecure),
     .standard = "false",
     .doc = "Allow addresses that are not loopback without TLS. Everybody who reaches the port can then "
            "read, write and delete chunks: only for networks where every host is trusted."},
    {.name = "tls.cert_file",
     AT(STRING, tls_cert_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "Certificate chain of this node, PEM. With `tls.key_file` it turns TLS on for every address of "
            "`listen`; the unix socket stays without."},
    {.name = "tls.key_file",
     AT(STRING, tls_key_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "Private key that belongs to `tls.cert_file`, PEM."},
    {.name = "tls.client_ca_file",
     AT(STRING, tls_client_ca_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "Certificates, PEM, that clients' certificates must be signed by. Empty: clients are not asked "
            "for one."},
    {.name = "tenants",
     AT(STRING, tenants),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "File that names who may use the node, by which tokens or certificates they are known, and their "
            "shares of memory and SSD (docs/tenants.md). Nobody else may read it, nor its group write it. "
            "Who shows no credential of it is refused, on the unix socket too. It is read again on SIGHUP. "
            "Empty: everybody who reaches the node may use all of it."},
};

const kvi_config_rows kvi_settings_access = {.rows = rows, .count = KVI_ARRAY_SIZE(rows)};
