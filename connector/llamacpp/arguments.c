#include "connector/llamacpp/arguments.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kvasir/connector.h>

#include "proto/chunk.h"

static const char help[] =
    "usage: kvasir-llama --model FILE (--tokens FILE | --prompt FILE) [options]\n"
    "Runs a prompt through llama.cpp; what Kvasir has of its KV is loaded, the rest is computed and "
    "saved.\n\n"
    "  --model FILE          GGUF model\n"
    "  --tokens FILE         the prompt as token ids; - is standard input\n"
    "  --prompt FILE         the prompt as text, for models with a tokenizer\n"
    "  --endpoint E          embedded: | unix:/path | kvasir://host:port (default: embedded:)\n"
    "  --tls-ca FILE         speak TLS to a kvasir:// endpoint that this authority signed (default: "
    "$KVASIR_TLS_CA)\n"
    "  --tls-cert FILE, --tls-key FILE  certificate to show, and its key ($KVASIR_TLS_CERT, "
    "$KVASIR_TLS_KEY)\n"
    "  --tls-name NAME       name in the node's certificate (default: $KVASIR_TLS_NAME, else the host)\n"
    "  --embedded-mib N      memory of an embedded store (default: 256)\n"
    "  --n-predict N         tokens to generate, the likeliest each time (default: 1)\n"
    "  --kv-type T           f16 | bf16 | f32 | q8_0 (default: f16)\n"
    "  --flash-attn on|off   (default: on)\n"
    "  --threads N           (default: 1)\n"
    "  --context N           tokens of context (default: as many as needed)\n"
    "  --chunk N             tokens of a chunk (default: 256)\n"
    "  --sequences N         sequences of the context; 1 leaves no spare one (default: 2)\n"
    "  --timeout-ms N        of each exchange with the store (default: 5000)\n"
    "  --loss-max N          how far chunks may be degraded, and those that are loaded may have been: 0 not "
    "at all,\n"
    "                        2 as FP8, 4 the base of a ladder alone (default: 0)\n"
    "  --loss-enough N       better than that chunks that are loaded need not be, at most --loss-max: their "
    "last\n"
    "                        planes are not sent (default: 0)\n"
    "  --hurry-ms N          planes are not sent, within --loss-max, if an exchange would take longer "
    "(default: 0,\n"
    "                        no hurry)\n"
    "  --encode LEVEL        none | lossless | ladder | cachegen: for a slow link, chunks are encoded before "
    "they "
    "are\n"
    "                        sent to a kvasir:// endpoint; with loss where --loss-max allows it (default: "
    "none)\n"
    "  --wait-ms N           wait so long for the node at the start (default: 2000)\n"
    "  --no-load, --no-save  leave out one half\n"
    "  --logits-out FILE     the last position's logits, float32, little-endian\n"
    "  --logits-compare FILE tell the largest difference to the logits of an earlier run\n"
    "  --json                one JSON object on standard output\n"
    "  --verbose             llama.cpp's own log on standard error\n";

enum {
  OPT_MODEL = 256,
  OPT_TOKENS,
  OPT_PROMPT,
  OPT_ENDPOINT,
  OPT_LOGITS,
  OPT_TYPE,
  OPT_FLASH,
  OPT_JSON,
  OPT_NO_SAVE,
  OPT_NO_LOAD,
  OPT_VERBOSE,
  OPT_PREDICT,
  OPT_THREADS,
  OPT_CONTEXT,
  OPT_TIMEOUT,
  OPT_WAIT,
  OPT_LOSS,
  OPT_LOSS_ENOUGH,
  OPT_HURRY,
  OPT_ENCODE,
  OPT_CHUNK,
  OPT_SEQUENCES,
  OPT_DRAM,
  OPT_COMPARE,
  OPT_TLS_CA,
  OPT_TLS_CERT,
  OPT_TLS_KEY,
  OPT_TLS_NAME,
  OPT_HELP,
};

static const struct option options[] = {{"model", 1, NULL, OPT_MODEL},
                                        {"tokens", 1, NULL, OPT_TOKENS},
                                        {"prompt", 1, NULL, OPT_PROMPT},
                                        {"endpoint", 1, NULL, OPT_ENDPOINT},
                                        {"logits-out", 1, NULL, OPT_LOGITS},
                                        {"logits-compare", 1, NULL, OPT_COMPARE},
                                        {"kv-type", 1, NULL, OPT_TYPE},
                                        {"flash-attn", 1, NULL, OPT_FLASH},
                                        {"json", 0, NULL, OPT_JSON},
                                        {"no-save", 0, NULL, OPT_NO_SAVE},
                                        {"no-load", 0, NULL, OPT_NO_LOAD},
                                        {"verbose", 0, NULL, OPT_VERBOSE},
                                        {"n-predict", 1, NULL, OPT_PREDICT},
                                        {"threads", 1, NULL, OPT_THREADS},
                                        {"context", 1, NULL, OPT_CONTEXT},
                                        {"timeout-ms", 1, NULL, OPT_TIMEOUT},
                                        {"wait-ms", 1, NULL, OPT_WAIT},
                                        {"chunk", 1, NULL, OPT_CHUNK},
                                        {"sequences", 1, NULL, OPT_SEQUENCES},
                                        {"embedded-mib", 1, NULL, OPT_DRAM},
                                        {"tls-ca", 1, NULL, OPT_TLS_CA},
                                        {"tls-cert", 1, NULL, OPT_TLS_CERT},
                                        {"tls-key", 1, NULL, OPT_TLS_KEY},
                                        {"tls-name", 1, NULL, OPT_TLS_NAME},
                                        {"loss-max", 1, NULL, OPT_LOSS},
                                        {"encode", 1, NULL, OPT_ENCODE},
                                        {"loss-enough", 1, NULL, OPT_LOSS_ENOUGH},
                                        {"hurry-ms", 1, NULL, OPT_HURRY},
                                        {"help", 0, NULL, OPT_HELP},
                                        {0}};

static bool parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
  char *end;
  errno = 0;
  *value = strtoull(text, &end, 10);
  return errno == 0 && end != text && *end == '\0' && text[0] != '-' && *value >= low && *value <= high;
}

static bool parse_type(const char *text, enum ggml_type *type)
{
  static const enum ggml_type types[] = {GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_F32, GGML_TYPE_Q8_0};
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    if (strcmp(text, ggml_type_name(types[i])) == 0) {
      *type = types[i];
      return true;
    }
  }
  return false;
}

static bool parse_switch(const char *text, bool *value)
{
  *value = strcmp(text, "on") == 0;
  return *value || strcmp(text, "off") == 0;
}

static bool parse_encode(const char *text, uint32_t *value)
{
  static const char *const names[] = {[KVS_ENCODE_NONE] = "none",
                                      [KVS_ENCODE_LOSSLESS] = "lossless",
                                      [KVS_ENCODE_LADDER] = "ladder",
                                      [KVS_ENCODE_CACHEGEN] = "cachegen"};
  for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (strcmp(text, names[i]) == 0) {
      *value = i;
      return true;
    }
  }
  return false;
}

static bool set_number(kvi_llama_arguments *a, int option, const char *text)
{
  switch (option) {
  case OPT_PREDICT:
    return parse_number(text, 0, 1 << 20, &a->n_predict);
  case OPT_THREADS:
    return parse_number(text, 1, 512, &a->threads);
  case OPT_CONTEXT:
    return parse_number(text, 1, 1 << 24, &a->context);
  case OPT_TIMEOUT:
    return parse_number(text, 1, 600000, &a->timeout_ms);
  case OPT_LOSS:
    return parse_number(text, 0, KVI_LOSS_MAX, &a->loss_max);
  case OPT_LOSS_ENOUGH:
    return parse_number(text, 0, KVI_LOSS_MAX, &a->loss_enough);
  case OPT_HURRY:
    return parse_number(text, 0, 600000, &a->hurry_ms);
  case OPT_WAIT:
    return parse_number(text, 0, 600000, &a->wait_ms);
  case OPT_CHUNK:
    return parse_number(text, 1, 1 << 20, &a->chunk);
  case OPT_SEQUENCES:
    return parse_number(text, 1, 256, &a->sequences);
  case OPT_DRAM:
    return parse_number(text, 1, 1 << 20, &a->dram_mib);
  default:
    return false;
  }
}

static bool set_option(kvi_llama_arguments *a, int option, const char *text)
{
  switch (option) {
  case OPT_MODEL:
    a->model = text;
    return true;
  case OPT_TOKENS:
    a->tokens = text;
    return true;
  case OPT_PROMPT:
    a->text = text;
    return true;
  case OPT_ENDPOINT:
    a->endpoint = text;
    return true;
  case OPT_LOGITS:
    a->logits_out = text;
    return true;
  case OPT_COMPARE:
    a->logits_compare = text;
    return true;
  case OPT_TYPE:
    return parse_type(text, &a->kv_type);
  case OPT_FLASH:
    return parse_switch(text, &a->flash);
  case OPT_ENCODE:
    return parse_encode(text, &a->encode);
  case OPT_JSON:
    a->json = true;
    return true;
  case OPT_NO_SAVE:
    a->save = false;
    return true;
  case OPT_NO_LOAD:
    a->load = false;
    return true;
  case OPT_VERBOSE:
    a->verbose = true;
    return true;
  case OPT_TLS_CA:
    a->tls_ca = text;
    return true;
  case OPT_TLS_CERT:
    a->tls_cert = text;
    return true;
  case OPT_TLS_KEY:
    a->tls_key = text;
    return true;
  case OPT_TLS_NAME:
    a->tls_name = text;
    return true;
  default:
    return set_number(a, option, text);
  }
}

/* "" counts as not said, so that an option can undo the environment. */
static void take_variable(const char **text_p, const char *variable)
{
  if (*text_p == NULL)
    *text_p = getenv(variable);
  if (*text_p != NULL && (*text_p)[0] == '\0')
    *text_p = NULL;
}

static bool readable(const char *path)
{
  if (path == NULL || access(path, R_OK) == 0)
    return true;
  fprintf(stderr, "kvasir-llama: cannot read the TLS file \"%s\": %s\n", path, strerror(errno));
  return false;
}

/* Only a node behind TCP speaks TLS: for other endpoints the four texts are dropped. False: told on stderr. */
static bool take_tls(kvi_llama_arguments *a)
{
  if (strncmp(a->endpoint, "kvasir://", 9) != 0) {
    a->tls_ca = a->tls_cert = a->tls_key = a->tls_name = NULL;
    return true;
  }
  take_variable(&a->tls_ca, "KVASIR_TLS_CA");
  take_variable(&a->tls_cert, "KVASIR_TLS_CERT");
  take_variable(&a->tls_key, "KVASIR_TLS_KEY");
  take_variable(&a->tls_name, "KVASIR_TLS_NAME");
  if ((a->tls_cert == NULL) != (a->tls_key == NULL)) {
    fputs("kvasir-llama: --tls-cert and --tls-key need each other\n", stderr);
    return false;
  }
  if (a->tls_ca == NULL && (a->tls_cert != NULL || a->tls_name != NULL)) {
    fputs("kvasir-llama: --tls-cert, --tls-key and --tls-name need --tls-ca\n", stderr);
    return false;
  }
  return readable(a->tls_ca) && readable(a->tls_cert) && readable(a->tls_key);
}

int kvi_llama_arguments_parse(int argc, char **argv, kvi_llama_arguments *a)
{
  *a = (kvi_llama_arguments){.endpoint = "embedded:",
                             .kv_type = GGML_TYPE_F16,
                             .flash = true,
                             .save = true,
                             .load = true,
                             .n_predict = 1,
                             .threads = 1,
                             .timeout_ms = 5000,
                             .wait_ms = 2000,
                             .chunk = 256,
                             .sequences = 2,
                             .dram_mib = 256};
  int option, index = 0;
  while ((option = getopt_long(argc, argv, "h", options, &index)) != -1) {
    if (option == OPT_HELP || option == 'h') {
      fputs(help, stdout);
      return 1;
    }
    if (option == '?')
      return 3;
    if (!set_option(a, option, optarg)) {
      fprintf(stderr, "kvasir-llama: --%s cannot be \"%s\"\n", options[index].name, optarg);
      return 3;
    }
  }
  if (a->model == NULL || (a->tokens == NULL) == (a->text == NULL) || optind != argc) {
    fputs(help, stderr);
    return 3;
  }
  return take_tls(a) ? 0 : 3;
}
