/* client/cli/codec.h: what the commands of `kvasirctl codec` share. */
#ifndef KVI_CLIENT_CLI_CODEC_H
#define KVI_CLIENT_CLI_CODEC_H

#include "client/cli/cli.h"
#include "tiers/codec/codec.h"
#include "tiers/codec/profile.h"

extern const struct cli_command cli_codec_inspect, cli_codec_encode, cli_codec_decode, cli_codec_compare,
    cli_codec_profile;

/* ---- codec.c ---- */

const char *cli_codec_level_name(enum kvi_codec_level level);
const char *cli_codec_dtype_name(enum kvi_codec_dtype dtype);
/* False: there is none of that name. */
bool cli_codec_level(const char *name, enum kvi_codec_level *level_p);
bool cli_codec_dtype(const char *name, enum kvi_codec_dtype *dtype_p);
/* Tells what is wrong with a file; returns CLI_ERROR. */
int cli_codec_fail(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t cli_codec_elements(const struct kvi_codec_shape *shape);
/* Adds dtype, layers, tokens, heads and dimensions to a JSON object. */
void cli_codec_shape_json(const struct kvi_codec_shape *shape, cJSON *object);
/* "bf16, 4 layers, 256 tokens, 2 heads of 64 + 64" */
#define CLI_CODEC_SHAPE_TEXT 128u
char *cli_codec_shape_text(const struct kvi_codec_shape *shape, char text[CLI_CODEC_SHAPE_TEXT]);

/* ---- codec_input.c ---- */

/* How a file is to be read; filled by the options of encode and compare. */
struct cli_codec_input {
  const char *values, *dtype, *axes; /* NULL: not said */
  uint64_t sequence, start, rotary;
  bool bytes; /* any file, as bytes */
};
extern struct cli_codec_input cli_codec_input;
/* clang-format off */
#define CLI_CODEC_INPUT_OPTIONS                                                                                       \
  {0, "values", "FILE", "the values; FILE has the keys then", CLI_TEXT, &cli_codec_input.values},                     \
  {0, "dtype", "TYPE", "bf16, fp16, e4m3, e5m2 or int8 (default: u2 is bf16, f2 fp16, i1 int8)", CLI_TEXT,            \
   &cli_codec_input.dtype},                                                                                           \
  {0, "axes", "ORDER", "of a file's axes: s sequence, l layer, t token, h head, d dimension (default [s]lthd)",       \
   CLI_TEXT, &cli_codec_input.axes},                                                                                  \
  {0, "sequence", "N", "which sequence of the file (default 0)", CLI_NUMBER, &cli_codec_input.sequence},              \
  {0, "start", "N", "place of the first token in its sequence (default 0)", CLI_NUMBER, &cli_codec_input.start},      \
  {0, "rotary", "N", "the last N dimensions of a key are rotary (MLA: 64)", CLI_NUMBER, &cli_codec_input.rotary},     \
  {0, "bytes", NULL, "take the file as bytes, whatever it is", CLI_FLAG, &cli_codec_input.bytes}
/* clang-format on */

/* By its name and the options: tensors, or any bytes. */
bool cli_codec_is_tensor(const char *path);

struct cli_codec_chunk {
  struct kvi_codec_shape shape;
  uint8_t *raw; /* to be freed */
};
/* Reads a tensor file, or any file as bytes. CLI_OK, or CLI_USAGE or CLI_ERROR (told). */
int cli_codec_read(const struct cli_command *command, const char *path, struct cli_codec_chunk *chunk_p);

struct cli_codec_queries {
  uint32_t n_queries, n_heads;
  float *numbers; /* [layer][query head][query][dimension of a key]; to be freed */
};
/* Queries for a chunk: [s]lthd, more or as many heads. CLI_OK, or CLI_USAGE or CLI_ERROR (told). */
int cli_codec_read_queries(const struct cli_command *command, const char *path,
                           const struct kvi_codec_shape *shape, struct cli_codec_queries *queries_p);

/* Files with keys, values and queries, of which one sequence after the other is read. They are whole in memory until they are closed. */
struct cli_codec_samples;
/* CLI_OK, or CLI_USAGE or CLI_ERROR (told). */
int cli_codec_samples_open(const struct cli_command *command, const char *keys, const char *values,
                           const char *queries, struct cli_codec_samples **samples_p);
/*
 * The last sequence of those asked for; last UINT64_MAX: as far as the keys go. CLI_OK, or CLI_USAGE (the keys do not go so far) or CLI_ERROR (values or
 * queries do not), told.
 */
int cli_codec_samples_last(const struct cli_command *command, const struct cli_codec_samples *samples,
                           uint64_t first, uint64_t last, uint64_t *last_p);
/* CLI_OK, or CLI_USAGE or CLI_ERROR (told); what was read by then is to be freed all the same. */
int cli_codec_samples_read(const struct cli_command *command, const struct cli_codec_samples *samples,
                           uint64_t sequence, struct cli_codec_chunk *chunk_p,
                           struct cli_codec_queries *queries_p);
void cli_codec_samples_close(struct cli_codec_samples *samples); /* NULL is fine */

/* ---- codec_object.c ---- */

struct cli_codec_object {
  uint8_t *bytes;
  size_t size;
  struct kvi_codec_object object;
  int quality; /* the best one that is there whole; -1: not even the base */
};
/* Reads an object, which may be cut. CLI_OK or CLI_ERROR (told). */
int cli_codec_object_open(const char *path, struct cli_codec_object *object_p);
void cli_codec_object_close(struct cli_codec_object *object);

/* A whole regular file of at most so many bytes, to be freed. CLI_OK or CLI_ERROR (told). */
int cli_codec_file(const char *path, uint64_t max_bytes, uint8_t **bytes_p, size_t *size_p);

/* Memory to encode and decode one shape by one set of options. */
struct cli_codec_coder {
  struct kvi_codec_shape shape;
  struct kvi_codec_options options;
  void *scratch;
  uint8_t *out;
  size_t room, length; /* length: of the object in out */
};
/* KVS_OK, KVS_ERR_INVALID, or KVS_ERR_NOMEM. */
kvs_status cli_codec_coder_open(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                                struct cli_codec_coder *coder_p);
kvs_status cli_codec_coder_encode(struct cli_codec_coder *coder, const uint8_t *raw);
void cli_codec_coder_close(struct cli_codec_coder *coder); /* takes a zeroed one */

/* ---- codec_profile_file.c ---- */

struct cli_codec_profile {
  uint8_t *bytes;
  struct kvi_codec_profile profile;
};
/* Reads a profile. CLI_OK or CLI_ERROR (told). */
int cli_codec_profile_open(const char *path, struct cli_codec_profile *profile_p);
void cli_codec_profile_close(struct cli_codec_profile *profile); /* takes a zeroed one */
/* CLI_OK, or CLI_ERROR (told): the profile is for other tensors. */
int cli_codec_profile_check(const char *path, const struct kvi_codec_profile *profile,
                            const struct kvi_codec_shape *shape);
/* By its first bytes. */
bool cli_codec_is_profile(const char *path);
int cli_codec_profile_inspect(const struct cli *cli, const char *path);
void cli_codec_profile_print(const char *path, const struct kvi_codec_profile *profile);
cJSON *cli_codec_profile_json(const struct kvi_codec_profile *profile); /* to be deleted */

#endif
