/*
 * base/config.h: a program's settings, from one table.
 *
 * One row names a setting; its value in the file, the environment and on the command line, its checks, the
 * --help text and the reference pages all come from the row (base/README.md shows how to add one):
 *
 *     row "dram.size"   file: dram: {size: 2GiB}   environment: KVASIR_DRAM_SIZE
 *                       command line: --dram-size=2GiB or --dram.size=2GiB
 *
 * Values land in a struct of the program's, at the row's offset, as the type below. Precedence is default <
 * file < environment < command line, whatever the order of the loads. One thread at a time; after the loads,
 * many may read the values.
 *
 * Every load that fails gives KVS_ERR_CONFIG and leaves a message for a person in kvi_config_error(), such as
 *     kvasird.yaml:12: dram.siez: unknown key (did you mean dram.size?)
 * Some values may have been taken then: the program ends. KVS_ERR_NOMEM is the only other error.
 */
#ifndef KVI_BASE_CONFIG_H
#define KVI_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "base/array.h"
#include "base/strbuf.h"

#define KVI_CONFIG_FILE_MAX  (1024u * 1024u) /* bytes of a file */
#define KVI_CONFIG_DEPTH_MAX 8u              /* nested maps */
#define KVI_CONFIG_ITEMS_MAX 1024u           /* of a list */
#define KVI_CONFIG_VALUE_MAX 4096u           /* bytes of a scalar */
#define KVI_CONFIG_NAME_MAX  128u            /* bytes of a dotted name, with its NUL */
#define KVI_CONFIG_ROWS_MAX  1024u
#define KVI_CONFIG_PARTS_MAX 16u
#define KVI_CONFIG_TEXT_MAX                                                                                  \
  (16u * 1024u * 1024u) /* bytes of all strings a config keeps, those of kvi_config_set included */

/* What a row holds, and the type of its field in the struct. */
typedef enum kvi_config_type {
  KVI_CONFIG_BOOL,     /* bool: true or false (YAML 1.1's yes, no, on, off too) */
  KVI_CONFIG_INT,      /* int64_t, min..max */
  KVI_CONFIG_SIZE,     /* uint64_t bytes, min..max: 64KiB, 1.5GiB */
  KVI_CONFIG_DURATION, /* uint64_t milliseconds, min..max: 250ms, 10s */
  KVI_CONFIG_STRING,   /* const char *, never NULL, min..max bytes long */
  KVI_CONFIG_ENUM,     /* int: place of the word in the row's choices */
  KVI_CONFIG_LIST,     /* kvi_config_list, min..max items; a comma between items outside a file */
} kvi_config_type;

typedef struct kvi_config_list {
  const char *const *items;
  size_t count;
} kvi_config_list;

typedef struct kvi_config_row {
  const char
      *name; /* dotted, lower case: [a-z0-9_] words, '.' between them; unique also with '.' read as '_' */
  kvi_config_type type;
  size_t offset;        /* in the program's struct */
  const char *standard; /* the default, as one would write it in the environment; NULL: "" */
  int64_t min, max;     /* as the type says; both 0: only the type's own bounds; unused for bool and enum */
  const char *const *choices; /* of an enum, ended by NULL */
  const char *unit; /* for the pages, where the type does not say it ("threads", "tokens"); or NULL */
  bool mutable;     /* may change while the program runs */
  bool secret;      /* never printed */
  const char *doc;  /* one paragraph of plain text: full sentences, in Markdown `code` where it helps */
} kvi_config_row;

/* Rows checked by the compiler against the type of the field: KVI_CONFIG_FIELD(struct settings, dram_size,
 * uint64_t). */
#define KVI_CONFIG_FIELD(owner, field, ctype)                                                                \
  (offsetof(owner, field) + 0 * sizeof(&((owner *)0)->field == (ctype *)0))

#define KVI_CONFIG_BOOL_AT(owner, field)                                                                     \
  .type = KVI_CONFIG_BOOL, .offset = KVI_CONFIG_FIELD(owner, field, bool)
#define KVI_CONFIG_INT_AT(owner, field)                                                                      \
  .type = KVI_CONFIG_INT, .offset = KVI_CONFIG_FIELD(owner, field, int64_t)
#define KVI_CONFIG_SIZE_AT(owner, field)                                                                     \
  .type = KVI_CONFIG_SIZE, .offset = KVI_CONFIG_FIELD(owner, field, uint64_t)
#define KVI_CONFIG_DURATION_AT(owner, field)                                                                 \
  .type = KVI_CONFIG_DURATION, .offset = KVI_CONFIG_FIELD(owner, field, uint64_t)
#define KVI_CONFIG_STRING_AT(owner, field)                                                                   \
  .type = KVI_CONFIG_STRING, .offset = KVI_CONFIG_FIELD(owner, field, const char *)
#define KVI_CONFIG_ENUM_AT(owner, field)                                                                     \
  .type = KVI_CONFIG_ENUM, .offset = KVI_CONFIG_FIELD(owner, field, int)
#define KVI_CONFIG_LIST_AT(owner, field)                                                                     \
  .type = KVI_CONFIG_LIST, .offset = KVI_CONFIG_FIELD(owner, field, kvi_config_list)

/* Rows that belong together, as one file has them. */
typedef struct kvi_config_rows {
  const kvi_config_row *rows;
  size_t count;
} kvi_config_rows;

/* All of an array, as a part of a table; lives as a compound literal does. */
#define KVI_CONFIG_ROWS(array) (&(const kvi_config_rows){.rows = (array), .count = KVI_ARRAY_SIZE(array)})

typedef struct kvi_config_table {
  const char *program; /* "kvasird" */
  const char *version; /* "0.1.0" */
  const char *summary; /* "cache node of Kvasir": one line for --help and the man page */
  /* All rows, in the order of the pages; up to the first NULL. */
  const kvi_config_rows *parts[KVI_CONFIG_PARTS_MAX];
  size_t struct_size; /* of the program's struct */
  const char *const *
      others; /* variables of other programs, "KVASIR_ENDPOINT", that are passed over; ended by NULL; may be NULL */
} kvi_config_table;

/* A table's row by its number, from 0 through all parts; NULL: it has not so many. */
const kvi_config_row *kvi_config_row_at(const kvi_config_table *table, size_t index);

typedef enum kvi_config_source {
  KVI_CONFIG_FROM_DEFAULT,
  KVI_CONFIG_FROM_FILE,
  KVI_CONFIG_FROM_ENV,
  KVI_CONFIG_FROM_ARGS,
  KVI_CONFIG_FROM_RUNTIME,
} kvi_config_source;

/* What the command line asks of the program. */
typedef enum kvi_config_action {
  KVI_CONFIG_RUN,
  KVI_CONFIG_HELP,      /* --help, -h */
  KVI_CONFIG_VERSION,   /* --version */
  KVI_CONFIG_CHECK,     /* --check-config: load, say so, end */
  KVI_CONFIG_DUMP,      /* --dump-config */
  KVI_CONFIG_DUMP_JSON, /* --dump-config=json */
  KVI_CONFIG_MARKDOWN,  /* --print-docs=markdown: the reference page */
  KVI_CONFIG_MAN,       /* --print-docs=man: the man page's OPTIONS */
} kvi_config_action;

typedef struct kvi_config kvi_config;

/*
 * Makes a config with every value at its default. "table" must outlive it. KVS_ERR_INVALID: the table itself
 * is wrong (logged: a bug of the program), KVS_ERR_NOMEM.
 */
kvs_status kvi_config_create(const kvi_config_table *table, kvi_config **config_p);
void kvi_config_free(kvi_config *config);

/* The program's struct. Strings and lists in it belong to the config and live as long as it. */
const void *kvi_config_values(const kvi_config *config);

/* The message of the last failure, "" if none. Never holds a secret. */
const char *kvi_config_error(const kvi_config *config);

/*
 * The whole of a program's start: the command line, then the file it or KVASIR_CONFIG names, then the
 * environment
 * ("environment" as in environ; NULL: none). Nothing is loaded for the actions that only print text.
 */
kvs_status kvi_config_load(kvi_config *config, int argc, char *const *argv, char *const *environment,
                           kvi_config_action *action_p);

/* Carries out an action other than KVI_CONFIG_RUN and KVI_CONFIG_CHECK: what belongs on stdout. */
void kvi_config_print(const kvi_config *config, kvi_config_action action, kvi_strbuf *out);

/* The single feeds. "name" stands in messages in place of a file's. */
kvs_status kvi_config_load_file(kvi_config *config, const char *path);
kvs_status kvi_config_load_yaml(kvi_config *config, const char *name, const char *text, size_t length);
kvs_status kvi_config_load_env(kvi_config *config, char *const *environment);

/*
 * argv[0] is skipped. *file_p gets the argument of --config, or NULL. Anything that is not an option is
 * refused; an option given twice has its last value.
 */
kvs_status kvi_config_load_args(kvi_config *config, int argc, char *const *argv, kvi_config_action *action_p,
                                const char **file_p);

/*
 * Changes a mutable setting while the program runs; others are refused with KVS_ERR_CONFIG. A string or list
 * that was read from the values before stays valid until kvi_config_free(). The caller keeps readers away.
 */
kvs_status kvi_config_set(kvi_config *config, const char *name, const char *text);

/* For checks over several settings: leaves "file:line: name: reason" (or its like for the other feeds), gives
 * KVS_ERR_CONFIG. */
kvs_status kvi_config_refuse(kvi_config *config, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Where a setting's value comes from; KVI_CONFIG_FROM_DEFAULT for a name that is not in the table. */
kvi_config_source kvi_config_source_of(const kvi_config *config, const char *name);

/* Effective values with their sources, secrets hidden. The text form is YAML that can be loaded again. */
void kvi_config_dump_text(const kvi_config *config, kvi_strbuf *out);
void kvi_config_dump_json(const kvi_config *config, kvi_strbuf *out);

/* Pages from the table alone. */
void kvi_config_help(const kvi_config_table *table, kvi_strbuf *out);
void kvi_config_markdown(const kvi_config_table *table, kvi_strbuf *out);
void kvi_config_man(const kvi_config_table *table, kvi_strbuf *out);

#endif
