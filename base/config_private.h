/* base/config_private.h: what the files of the config (config*.c) share. */
#ifndef KVI_BASE_CONFIG_PRIVATE_H
#define KVI_BASE_CONFIG_PRIVATE_H

#include "base/config.h"
#include "base/text.h"

/* Where a value was met, for messages and dumps. */
typedef struct kvi_config_place {
  kvi_config_source source;
  const char *label; /* "kvasird.yaml", "environment", "command line", ...; lives as long as the config */
  size_t line;       /* 0: has none */
} kvi_config_place;

typedef struct kvi_config_kept {
  struct kvi_config_kept *next;
  char bytes[];
} kvi_config_kept;

struct kvi_config {
  const kvi_config_table *table;
  void *values;             /* the program's struct */
  kvi_config_place *places; /* of each row's value in force */
  kvi_config_kept *kept;    /* strings and lists, freed together */
  size_t kept_bytes;
  char error[1024];
};

size_t kvi_config_row_count(const kvi_config_table *table);

/* Number of the row with this dotted name; the count of rows if there is none. */
size_t kvi_config_find(const kvi_config_table *table, const char *name);

/* The same with '.', '-' and '_' alike and letters of either case: as environment and command line write it.
 */
size_t kvi_config_find_loosely(const kvi_config_table *table, const char *name, size_t length);

/* The nearest known name with as many dots as "name" has, or a longer one that ends in it, in "near"; false:
 * nothing is near. */
bool kvi_config_suggest(const kvi_config_table *table, const char *name, char near[KVI_CONFIG_NAME_MAX]);

/* KVS_ERR_INVALID: no rows or too many, or one is wrong (logged: which, and how). */
kvs_status kvi_config_table_check(const kvi_config_table *table);

/*
 * Checks and, if no value of a higher source is in force, stores. Scalars are one item. KVS_ERR_CONFIG with
 * the message left behind, KVS_ERR_NOMEM.
 */
kvs_status kvi_config_assign(kvi_config *config, size_t row, const char *const *items, size_t count,
                             const kvi_config_place *place);

/* The same for a value in one piece of text; a list's items are split at commas. */
kvs_status kvi_config_assign_text(kvi_config *config, size_t row, const char *text,
                                  const kvi_config_place *place);

/* A copy that lives as long as the config, NUL-terminated and aligned for pointers; NULL: no memory, or
 * KVI_CONFIG_TEXT_MAX. */
void *kvi_config_keep(kvi_config *config, const void *bytes, size_t length);

/* Leaves "label:line: name: reason" ("name" may be NULL) and gives KVS_ERR_CONFIG. */
kvs_status kvi_config_fail(kvi_config *config, const kvi_config_place *place, const char *name,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* "unknown key", with a suggestion if one is near. */
kvs_status kvi_config_fail_unknown(kvi_config *config, const kvi_config_place *place, const char *name,
                                   const char *what);

const char *kvi_config_type_name(kvi_config_type type);

/* Bytes of a value in the program's struct. */
size_t kvi_config_value_size(kvi_config_type type);

/* The bounds in force, "no bounds" resolved. */
void kvi_config_bounds(const kvi_config_row *row, int64_t *min_p, int64_t *max_p);

/* A bound as people write it; dst is returned. */
const char *kvi_config_format_bound(const kvi_config_row *row, int64_t bound, char dst[KVI_FORMAT_MAX]);

#endif
