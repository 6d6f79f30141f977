/*
 * server/node/settings_rows.h: the parts of the table of settings, each in the file of its name (settings_dram.c), and what their rows share.
 */
#ifndef KVI_NODE_SETTINGS_ROWS_H
#define KVI_NODE_SETTINGS_ROWS_H

#include "base/array.h"
#include "server/node/settings.h"

#define KIB             INT64_C(1024)
#define MIB             (KIB * 1024)
#define GIB             (MIB * 1024)
#define TIB             (GIB * 1024)
#define PATH_LENGTH_MAX 4000

#define AT(TYPE, field) KVI_CONFIG_##TYPE##_AT(struct kvi_node_settings, field)

extern const kvi_config_rows kvi_settings_access;
extern const kvi_config_rows kvi_settings_dram;
extern const kvi_config_rows kvi_settings_ssd;
extern const kvi_config_rows kvi_settings_store;
extern const kvi_config_rows kvi_settings_redis;
extern const kvi_config_rows kvi_settings_program;

/* Choices of several tiers, ended by NULL. */
extern const char *const kvi_settings_admissions[]; /* enum kvi_policy_admission */
extern const char *const kvi_settings_codecs[];     /* enum kvi_node_codec */

#endif
