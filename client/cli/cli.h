/*
 * client/cli/cli.h: what the commands of kvasirctl share. Each command is one file that fills a struct cli_command; main.c
 * lists them, a group such as codec lists its own. Option tables give the parsing, --help and the shells' completion.
 */
#ifndef KVI_CLIENT_CLI_CLI_H
#define KVI_CLIENT_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include <kvasir/client.h>

/* Exit codes: docs/cli.md. */
enum cli_exit { CLI_OK = 0, CLI_MISS = 1, CLI_USAGE = 2, CLI_UNREACHABLE = 3, CLI_ERROR = 4 };

enum cli_kind {
  CLI_FLAG,     /* bool */
  CLI_TEXT,     /* const char * */
  CLI_NUMBER,   /* uint64_t */
  CLI_SIZE,     /* uint64_t, bytes: "64KiB" */
  CLI_DURATION, /* uint64_t, ms: "2s" */
};

struct cli_option {
  char letter;       /* or 0 */
  const char *name;  /* the long form; NULL ends a table */
  const char *value; /* what the value is called in --help; NULL for a flag */
  const char *help;
  enum cli_kind kind;
  void *target;
};

/* What all commands take; filled by main.c, options after the command included. */
struct cli {
  const char *endpoint; /* NULL: try the defaults */
  uint64_t timeout_ms;
  bool json;
  const char *tls_ca, *tls_cert, *tls_key, *tls_name, *token_file; /* NULL: not on the command line */
  kvsc_client *client;                                             /* after cli_connect */
};

struct cli_command {
  const char *name;                 /* of a group's command both words: "codec inspect" */
  const char *arguments;            /* "KEY FILE", for --help */
  const char *summary;              /* one line */
  const char *details;              /* more for --help, or NULL */
  const char *words;                /* completion of the arguments: words between spaces, "@file", or NULL */
  const struct cli_option *options; /* may be NULL */
  int min_arguments, max_arguments;
  bool local;                                /* asks no node: takes none of the options that say which */
  const struct cli_command *const *commands; /* of a group; NULL ends them. NULL: it is a command */
  /* arguments: those after the options. Returns an exit code. */
  int (*run)(struct cli *cli, int n, char **arguments);
};

extern const struct cli_command cli_ping, cli_stats, cli_tiers, cli_ls, cli_put, cli_get, cli_evict,
    cli_programs, cli_pins, cli_price, cli_why_miss, cli_config, cli_bench, cli_codec, cli_completion,
    cli_tenants, cli_curve, cli_token, cli_replay, cli_hint;
extern const struct cli_command *const cli_commands[]; /* NULL ends it */
/* What every command takes, and of that what one takes that asks no node. */
extern const struct cli_option cli_common_options[], cli_local_options[];

/* The last word of a command's name: what is typed. */
const char *cli_word(const struct cli_command *command);

/* ---- options.c ---- */

/* Parses argv[1..) with the command's options and the common ones. CLI_OK and where the arguments start, or CLI_USAGE (told). */
int cli_parse(const struct cli_command *command, int argc, char **argv, bool *help_p, int *first_p);
void cli_help(const struct cli_command *command, FILE *out);
/* A message for a wrong command line; returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- connect.c ---- */

/* Connects; CLI_OK or, told on stderr, CLI_USAGE or CLI_UNREACHABLE. */
int cli_connect(struct cli *cli);
/* What to do about it: a part of a sentence, static; NULL: nothing is known. */
const char *cli_advice(kvs_status status);
/* Tells what failed and what to do; returns the exit code for it. */
int cli_fail(const struct cli *cli, const char *what, kvs_status status);
/* Waits for an operation that was started. Returns its status. */
kvs_status cli_wait(struct cli *cli, kvsc_op op, kvsc_completion *completion);

/* ---- tls.c ---- */

/*
 * Fills the TLS options of a client and its token's file from the command line, else from the environment; no TLS for a unix socket, which speaks
 * none. CLI_OK or, told on stderr, CLI_USAGE.
 */
int cli_tls(const struct cli *cli, kvsc_options *options);

/* ---- output.c ---- */

/* A table of text cells, its columns as wide as needed. Numbers stand to the right. */
struct cli_table;
struct cli_table *cli_table_new(size_t n_columns, const char *const *headings, const bool *to_the_right);
/* Takes n_columns strings, copied, control characters made "?"; does nothing on NULL. */
void cli_table_row(struct cli_table *table, const char *const *cells);
/* Prints and frees. */
void cli_table_print(struct cli_table *table, FILE *out);

/* A copy without control characters, malloc'd; NULL: no memory. */
char *cli_printable(const char *text);

/* Prints a document and a newline, indented if stdout is a terminal. */
void cli_print_json(const char *json);
/* The string or number of a member; "" or 0 if there is none. */
const char *cli_json_text(const cJSON *object, const char *name);
double cli_json_number(const cJSON *object, const char *name);

/* "33.5 MB"-like text with binary units, at most 16 bytes with its NUL. */
#define CLI_SIZE_TEXT 24u
char *cli_size_text(double bytes, char text[CLI_SIZE_TEXT]);
char *cli_time_text(double seconds, char text[CLI_SIZE_TEXT]);

/* A bar on stderr while it is a terminal and the work takes longer than a moment. */
struct cli_progress {
  const char *what;
  const char *unit; /* of what is counted; NULL: bytes. Set after the start */
  uint64_t total, shown_ns, started_ns;
  bool shown;
};
void cli_progress_start(struct cli_progress *progress, const char *what, uint64_t total);
void cli_progress_at(struct cli_progress *progress, uint64_t done);
/* Wipes it. */
void cli_progress_end(struct cli_progress *progress);

/* ---- watch.c ---- */

extern bool cli_watching; /* by this option of a command */
#define CLI_WATCH_OPTION                                                                                     \
  {                                                                                                          \
    'w', "watch", NULL, "again each second", CLI_FLAG, &cli_watching                                         \
  }
extern const struct cli_option cli_watch_options[]; /* it alone */
/* Connects, gets a document and prints it, or it as JSON; with --watch each second, until it cannot be got or printed. An exit code (told). */
int cli_show(struct cli *cli, int (*get)(struct cli *cli, cJSON **document_p),
             void (*print)(const cJSON *document));
/* A document that was asked for, parsed, or what failed told by its name; frees json. CLI_OK or an exit code. */
int cli_take_json(const struct cli *cli, const char *what, kvs_status status, char *json, cJSON **document_p);

/* ---- output_file.c ---- */

/* A file that is written beside its target and takes its name when it is whole; a pipe or device, which is written to. */
struct cli_output {
  const char *path;
  char *scratch; /* its name until then; NULL: a pipe or device */
  int fd;
};
/* Opens it. CLI_OK or CLI_ERROR (told). */
int cli_output_begin(struct cli_output *output, const char *path);
/* Writes to its end. CLI_OK or CLI_ERROR (told). */
int cli_output_write(struct cli_output *output, const void *bytes, size_t length);
/* With code CLI_OK gives it its name, else takes it away. Returns code, or CLI_ERROR (told). Takes a zeroed one. */
int cli_output_end(struct cli_output *output, int code);
/* To any descriptor, all of it; false with errno. */
bool cli_write_full(int fd, const void *bytes, size_t length);

/* ---- spaces.c ---- */

/* The spaces of the node as a document to be freed with cJSON_Delete. CLI_OK or an exit code (told). */
int cli_spaces(struct cli *cli, cJSON **document_p);
/* The space that a person means by the first hex digits of its digest. CLI_OK or an exit code (told). */
int cli_find_space(struct cli *cli, const char *text, uint8_t digest[KVS_DIGEST_SIZE]);

/* ---- files.c ---- */

#define CLI_KEY_SIZE   32u
#define CLI_PARTS_MAX  65536u
#define CLI_PART_BYTES (8u << 20)
#define CLI_BATCH      4u /* parts on the wire at once: 32 MiB of memory */

/* The options that describe the space of put and get. */
extern const struct cli_option cli_file_options[];
/* Opens that space. CLI_OK or an exit code (told). */
int cli_files_open(struct cli *cli, kvsc_space **space_p);

/* What lies under a file's key: its parts, each under the SHA-256 of its bytes. docs/cli.md has the bytes of it. */
struct cli_manifest {
  uint64_t size;
  uint32_t part_bytes, n_parts;
  uint8_t (*parts)[CLI_KEY_SIZE];
};
#define CLI_MANIFEST_HEAD 24u
/* The written form, malloc'd, its length in *length_p; NULL: no memory. */
uint8_t *cli_manifest_write(const struct cli_manifest *manifest, size_t *length_p);
/* False: not a manifest. parts is malloc'd. */
bool cli_manifest_read(const uint8_t *bytes, size_t length, struct cli_manifest *manifest_p);

void cli_manifest_key(const char *name, uint8_t key[CLI_KEY_SIZE]);
void cli_part_key(const void *bytes, size_t length, uint8_t key[CLI_KEY_SIZE]);

/* Puts or gets n chunks that stand alone, with one buffer each, and waits. Each chunk's status in statuses. */
kvs_status cli_move(struct cli *cli, kvsc_space *space, bool put, uint32_t n,
                    const uint8_t (*keys)[CLI_KEY_SIZE], const kvsc_iov *buffers, kvs_status *statuses,
                    kvsc_completion *completion);

#endif
