/* settings_table.c: everything that can be set about kvasird, in the order of docs/configuration.md. */
#include "server/node/settings_rows.h"

const char *const kvi_settings_admissions[] = {"all", "reused", "none", NULL};
const char *const kvi_settings_codecs[] = {"none", "lossless", "ladder", "cachegen", NULL};

/* What libkvasir's programs read: a shell that has them set starts a node as well. */
static const char *const client_variables[] = {"KVASIR_ENDPOINT",
                                               "KVASIR_TLS_CA",
                                               "KVASIR_TLS_CERT",
                                               "KVASIR_TLS_KEY",
                                               "KVASIR_TLS_NAME",
                                               "KVASIR_TOKEN_FILE",
                                               NULL};

const kvi_config_table kvi_settings_table = {
    .program = "kvasird",
    .version = KVASIR_VERSION,
    .summary = "cache node of Kvasir: keeps chunks of KV cache in memory and serves them over gRPC",
    .parts = {&kvi_settings_access, &kvi_settings_dram, &kvi_settings_ssd, &kvi_settings_store,
              &kvi_settings_redis, &kvi_settings_program},
    .struct_size = sizeof(struct kvi_node_settings),
    .others = client_variables,
};
