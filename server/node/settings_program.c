/* settings_program.c: the servers of the process, its log and its end. */
#include "server/node/settings_rows.h"

static const char *const log_levels[] = {"error", "warn", "info", "debug", "trace", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

static const kvi_config_row rows[] = {
    {.name = "grpc.pollers",
     AT(INT, grpc_pollers),
     .standard = "0",
     .min = 0,
     .max = 64,
     .unit = "threads",
     .doc = "Threads that serve connections. 0: a quarter of the cores, 1 to 4."},
    {.name = "grpc.memory_quota",
     AT(SIZE, grpc_memory_quota),
     .standard = "256MiB",
     .min = 16 * MIB,
     .max = 1 * TIB,
     .doc = "Most memory that gRPC uses for messages that are coming in and going out, beside `dram.size`. "
            "It is what bounds the harm of oversized messages."},
    {.name = "grpc.max_connections",
     AT(INT, grpc_max_connections),
     .standard = "4096",
     .min = 1,
     .max = 1000000,
     .unit = "connections",
     .doc = "Most client connections; further ones are closed at once. Lowered to what the limit on open "
            "files allows, two for each connection."},
    {.name = "grpc.max_streams",
     AT(INT, grpc_max_streams),
     .standard = "1024",
     .min = 1,
     .max = 65536,
     .unit = "calls",
     .doc = "Most calls in progress on one connection; a client waits before it starts more."},
    {.name = "grpc.stall_timeout",
     AT(DURATION, grpc_stall_timeout),
     .standard = "10s",
     .min = 100,
     .max = 3600000,
     .doc = "A connection whose peer has not taken any byte for this long, while there are some for it, is "
            "closed."},

    {.name = "admin.listen",
     AT(STRING, admin_listen),
     .standard = "127.0.0.1:7071",
     .min = 0,
     .max = 300,
     .doc = "Address of the HTTP port with `/metrics`, `/healthz` and `/readyz`; empty for none. It never "
            "has TLS, so an address that is not loopback needs `insecure: true`."},
    {.name = "admin.max_connections",
     AT(INT, admin_max_connections),
     .standard = "64",
     .min = 2,
     .max = 1000,
     .unit = "connections",
     .doc = "Most connections to the HTTP port; when the last place is taken, the oldest ends."},

    {.name = "log.level",
     AT(ENUM, log_level),
     .standard = "info",
     .choices = log_levels,
     .mutable = true,
     .doc = "How much is logged to standard error. `info` is a few lines a minute whatever the load."},
    {.name = "log.format",
     AT(ENUM, log_format),
     .standard = "text",
     .choices = log_formats,
     .mutable = true,
     .doc = "One line of text for each event, or one JSON object."},
    {.name = "drain_timeout",
     AT(DURATION, drain_timeout),
     .standard = "10s",
     .min = 0,
     .max = 600000,
     .mutable = true,
     .doc = "How long work in flight may go on after SIGTERM before it is cancelled. The process ends at the "
            "latest a second after."},
};

const kvi_config_rows kvi_settings_program = {.rows = rows, .count = KVI_ARRAY_SIZE(rows)};
