/*
 * client/traces/read.h: traces as they are published, into memory (docs/simulator.md says what each format is).
 *
 * Input is another's: what is wrong ends with a sentence that names file and line, never with a crash or with half of a number. Bounds: a file of SIM_FILE_MAX
 * bytes once it is unpacked, a request of SIM_TOKENS_MAX tokens.
 */
#ifndef KVASIR_CLIENT_TRACES_READ_H
#define KVASIR_CLIENT_TRACES_READ_H

#include "client/traces/trace.h"

#define SIM_FILE_MAX (UINT64_C(4) << 30)
#define SIM_LINE_MAX (64u << 20)

enum sim_format { SIM_AUTO, SIM_MOONCAKE, SIM_AGENTIC, SIM_BAILIAN };

/* "auto", "mooncake", "agentic", "bailian"; false: none of them. */
bool sim_format_named(const char *name, enum sim_format *format_p);

/*
 * Reads one path into the trace: a file, a folder (its *.json and *.jsonl in the order of their names, not those below), or a tar archive of such, each perhaps packed by
 * zstd. May be called several times with formats that give runs alike. KVS_ERR_SYSTEM: it cannot be read. KVS_ERR_INVALID: it is not what it should
 * be. KVS_ERR_TOO_LARGE, KVS_ERR_NOMEM.
 */
kvs_status sim_read_path(struct sim_trace *trace, const char *path, enum sim_format format,
                         struct sim_error *error);

/* The same from memory: one file, unpacked, no archive. name is for errors. SIM_AUTO looks at its first line. */
kvs_status sim_read_text(struct sim_trace *trace, const char *name, enum sim_format format, const char *text,
                         size_t length, struct sim_error *error);

/* One format each, called by the above. */
kvs_status sim_read_mooncake(struct sim_trace *trace, const char *name, const char *text, size_t length,
                             struct sim_error *error);
kvs_status sim_read_bailian(struct sim_trace *trace, const char *name, const char *text, size_t length,
                            struct sim_error *error);
kvs_status sim_read_agentic(struct sim_trace *trace, const char *name, const char *text, size_t length,
                            struct sim_error *error);

#endif
