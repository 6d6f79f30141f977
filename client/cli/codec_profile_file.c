/* client/cli/codec_profile_file.c: profiles in files. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/codec.h"

#define FACTOR_TEXT 8u

bool cli_codec_is_profile(const char *path)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  char magic[4];
  bool is =
      fd >= 0 && read(fd, magic, sizeof magic) == (ssize_t)sizeof magic && memcmp(magic, "KVP1", 4) == 0;

  if (fd >= 0)
    close(fd);
  return is;
}

static int fail_open(const char *path, const uint8_t *bytes, size_t size, kvs_status status)
{
  if (size < 5 || memcmp(bytes, "KVP1", 4) != 0)
    return cli_codec_fail(path, "is no profile (KVP1)");
  if (status == KVS_ERR_UNSUPPORTED)
    return cli_codec_fail(path, "has version %u of KVP1, and this kvasirctl reads version %u", bytes[4],
                          KVI_PROFILE_VERSION);
  return cli_codec_fail(path, "is damaged: make it anew with 'kvasirctl codec profile'");
}

int cli_codec_profile_open(const char *path, struct cli_codec_profile *profile_p)
{
  size_t size;
  kvs_status status;
  int code;

  memset(profile_p, 0, sizeof *profile_p);
  code = cli_codec_file(path, KVI_PROFILE_SIZE_MAX, &profile_p->bytes, &size);
  if (code != CLI_OK)
    return code;
  status = kvi_codec_profile_open(profile_p->bytes, size, &profile_p->profile);
  if (status != KVS_OK) {
    code = fail_open(path, profile_p->bytes, size, status);
    cli_codec_profile_close(profile_p);
  }
  return code;
}

void cli_codec_profile_close(struct cli_codec_profile *profile)
{
  free(profile->bytes);
  memset(profile, 0, sizeof *profile);
}

int cli_codec_profile_check(const char *path, const struct kvi_codec_profile *profile,
                            const struct kvi_codec_shape *shape)
{
  if (kvi_codec_profile_fits(profile, shape, 0))
    return CLI_OK;
  return cli_codec_fail(path,
                        "is for %" PRIu32 " layers, %" PRIu32 " heads, keys of %" PRIu32
                        " and values of %" PRIu32 ", and these tensors have %" PRIu32 ", %" PRIu32
                        ", %" PRIu32 " and %" PRIu32,
                        profile->n_layers, profile->n_heads, profile->key_dim, profile->value_dim,
                        shape->n_layers, shape->n_heads, shape->key_dim, shape->value_dim);
}

/* ---- telling ---- */

static void id_text(const struct kvi_codec_profile *profile, char text[2 * KVI_PROFILE_ID_SIZE + 1])
{
  for (size_t i = 0; i < KVI_PROFILE_ID_SIZE; i++)
    snprintf(text + 2 * i, 3, "%02x", profile->id[i]);
}

static double factor_at(const struct kvi_codec_profile *profile, uint32_t layer, bool is_value, uint32_t head)
{
  return (double)kvi_codec_profile_factor(profile, layer, is_value, head) / KVI_PROFILE_ONE;
}

/* The least, the mean and the most of a layer's keys or values. */
static void span_text(const struct kvi_codec_profile *profile, uint32_t layer, bool is_value,
                      char cells[3][FACTOR_TEXT])
{
  double least = 1e9, most = 0, sum = 0;

  for (uint32_t head = 0; head < profile->n_heads; head++) {
    double factor = factor_at(profile, layer, is_value, head);

    least = factor < least ? factor : least;
    most = factor > most ? factor : most;
    sum += factor;
  }
  snprintf(cells[0], FACTOR_TEXT, "%.2f", least);
  snprintf(cells[1], FACTOR_TEXT, "%.2f", sum / profile->n_heads);
  snprintf(cells[2], FACTOR_TEXT, "%.2f", most);
}

void cli_codec_profile_print(const char *path, const struct kvi_codec_profile *profile)
{
  const char *const headings[] = {"LAYER", "KEYS", "MEAN", "TO", "VALUES", "MEAN", "TO"};
  const bool to_the_right[] = {true, true, true, true, true, true, true};
  struct cli_table *table = cli_table_new(7, headings, to_the_right);
  char id[2 * KVI_PROFILE_ID_SIZE + 1];

  id_text(profile, id);
  printf("%s: profile %s, version %u\n%" PRIu32 " layers, %" PRIu32 " heads, keys of %" PRIu32
         " and values of %" PRIu32 ", from %" PRIu32 " samples",
         path, id, KVI_PROFILE_VERSION, profile->n_layers, profile->n_heads, profile->key_dim,
         profile->value_dim, profile->n_samples);
  if (profile->model_fingerprint != 0)
    printf(", model %016" PRIx64, profile->model_fingerprint);
  printf("\n\nFactors of the heads' steps:\n");
  for (uint32_t layer = 0; layer < profile->n_layers; layer++) {
    char number[12], keys[3][FACTOR_TEXT], values[3][FACTOR_TEXT];

    snprintf(number, sizeof number, "%" PRIu32, layer);
    span_text(profile, layer, false, keys);
    span_text(profile, layer, true, values);
    cli_table_row(table,
                  (const char *const[]){number, keys[0], keys[1], keys[2], values[0], values[1], values[2]});
  }
  cli_table_print(table, stdout);
}

cJSON *cli_codec_profile_json(const struct kvi_codec_profile *profile)
{
  static const char *const planes[] = {"keys", "values"};
  cJSON *document = cJSON_CreateObject(), *layers;
  char id[2 * KVI_PROFILE_ID_SIZE + 1], fingerprint[20];

  id_text(profile, id);
  snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, profile->model_fingerprint);
  cJSON_AddStringToObject(document, "profile", id);
  cJSON_AddNumberToObject(document, "version", KVI_PROFILE_VERSION);
  cJSON_AddNumberToObject(document, "layers", profile->n_layers);
  cJSON_AddNumberToObject(document, "heads", profile->n_heads);
  cJSON_AddNumberToObject(document, "key_dim", profile->key_dim);
  cJSON_AddNumberToObject(document, "value_dim", profile->value_dim);
  cJSON_AddNumberToObject(document, "samples", profile->n_samples);
  cJSON_AddStringToObject(document, "model_fingerprint", fingerprint);
  layers = cJSON_AddArrayToObject(document, "factors");
  for (uint32_t layer = 0; layer < profile->n_layers; layer++) {
    cJSON *object = cJSON_CreateObject();

    for (int plane = 0; plane < 2; plane++) {
      cJSON *factors = cJSON_AddArrayToObject(object, planes[plane]);

      for (uint32_t head = 0; head < profile->n_heads; head++)
        cJSON_AddItemToArray(factors, cJSON_CreateNumber(factor_at(profile, layer, plane != 0, head)));
    }
    cJSON_AddItemToArray(layers, object);
  }
  return document;
}

int cli_codec_profile_inspect(const struct cli *cli, const char *path)
{
  struct cli_codec_profile file;
  cJSON *document;
  char *json;
  int code = cli_codec_profile_open(path, &file);

  if (code != CLI_OK)
    return code;
  if (cli->json) {
    document = cli_codec_profile_json(&file.profile);
    json = cJSON_PrintUnformatted(document);
    cli_print_json(json != NULL ? json : "{}");
    cJSON_free(json);
    cJSON_Delete(document);
  } else {
    cli_codec_profile_print(path, &file.profile);
  }
  cli_codec_profile_close(&file);
  return CLI_OK;
}
