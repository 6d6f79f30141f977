/* client/cli/codec_encode.c: kvasirctl codec encode. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/cli/codec.h"

static const char *output, *level_name, *profile_path;
static uint64_t planes = UINT64_MAX, step, zstd_level;

static const struct cli_option options[] = {
    {'o', "output", "FILE", "the object to write", CLI_TEXT, &output},
    {'l', "level", "LEVEL", "lossless (default), ladder, cachegen, zstd (default of bytes) or raw", CLI_TEXT,
     &level_name},
    {0, "planes", "N", "ladder: refinements behind the base, 0 to 3 (default 2: as good as FP8)", CLI_NUMBER,
     &planes},
    {0, "step", "N",
     "ladder: base step in thousandths of a head's deviation (default 800); cachegen: bins, of the paper's "
     "(1000)",
     CLI_NUMBER, &step},
    {0, "zstd-level", "N", "zstd: 1 to 19 (default 3)", CLI_NUMBER, &zstd_level},
    {0, "profile", "FILE", "ladder: the model's profile; decoding does not need it", CLI_TEXT, &profile_path},
    CLI_CODEC_INPUT_OPTIONS,
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

/* What belongs to another level is a mistake, not a thing to pass over. */
static int check_options(bool bytes, struct kvi_codec_options *coding)
{
  if (level_name == NULL)
    coding->level = bytes ? KVI_CODEC_ZSTD : KVI_CODEC_LOSSLESS;
  else if (!cli_codec_level(level_name, &coding->level))
    return cli_usage(&cli_codec_encode, "--level '%s': it takes lossless, ladder, cachegen, zstd or raw",
                     level_name);
  if (bytes && coding->level != KVI_CODEC_ZSTD && coding->level != KVI_CODEC_RAW)
    return cli_usage(
        &cli_codec_encode,
        "--level %s takes tensors, in a .npy or .npy.zst; any other file goes with --level zstd or raw",
        level_name);
  if (planes != UINT64_MAX && (coding->level != KVI_CODEC_LADDER || planes > KVI_CODEC_PLANES_MAX))
    return cli_usage(&cli_codec_encode, "--planes goes from 0 to %u, with --level ladder",
                     KVI_CODEC_PLANES_MAX);
  if (step != 0 && ((coding->level != KVI_CODEC_LADDER && coding->level != KVI_CODEC_CACHEGEN) ||
                    step < KVI_CODEC_STEP_MIN || step > KVI_CODEC_STEP_MAX))
    return cli_usage(&cli_codec_encode, "--step goes from %u to %u, with --level ladder or cachegen",
                     KVI_CODEC_STEP_MIN, KVI_CODEC_STEP_MAX);
  if (zstd_level != 0 && (coding->level != KVI_CODEC_ZSTD || zstd_level > 19))
    return cli_usage(&cli_codec_encode, "--zstd-level goes from 1 to 19, with --level zstd");
  if (profile_path != NULL && coding->level != KVI_CODEC_LADDER)
    return cli_usage(&cli_codec_encode, "--profile goes with --level ladder");
  if (coding->level == KVI_CODEC_LADDER)
    coding->planes = planes == UINT64_MAX ? 2 : (uint32_t)planes;
  coding->step = (uint32_t)step;
  coding->zstd_level = (int)zstd_level;
  return CLI_OK;
}

static void report(const struct cli *cli, const struct cli_codec_coder *coder)
{
  double elements = (double)cli_codec_elements(&coder->shape), bytes = (double)coder->length;
  double ratio = (double)coder->shape.raw_bytes / bytes;
  char raw_text[CLI_SIZE_TEXT], text[CLI_SIZE_TEXT], shape_text[CLI_CODEC_SHAPE_TEXT];
  cJSON *document;
  char *json;

  if (!cli->json) {
    printf("%s: %s of %s (%s), %.3f bits an element, %.2f times smaller\n", output,
           cli_size_text(bytes, text), cli_size_text((double)coder->shape.raw_bytes, raw_text),
           cli_codec_shape_text(&coder->shape, shape_text), bytes * 8 / elements, ratio);
    return;
  }
  document = cJSON_CreateObject();
  cJSON_AddStringToObject(document, "level", cli_codec_level_name(coder->options.level));
  cJSON_AddNumberToObject(document, "planes", coder->options.planes);
  cli_codec_shape_json(&coder->shape, document);
  cJSON_AddNumberToObject(document, "bytes", bytes);
  cJSON_AddNumberToObject(document, "bits_per_element", bytes * 8 / elements);
  cJSON_AddNumberToObject(document, "ratio", ratio);
  json = cJSON_PrintUnformatted(document);
  cli_print_json(json != NULL ? json : "{}");
  cJSON_free(json);
  cJSON_Delete(document);
}

/* An object is made in one call, which cannot tell how far it is. */
static kvs_status encode(struct cli_codec_coder *coder, const uint8_t *raw)
{
  bool tell = isatty(STDERR_FILENO) && coder->shape.raw_bytes > 256u << 20;
  char text[CLI_SIZE_TEXT];
  kvs_status status;

  if (tell)
    fprintf(stderr, "encoding %s ...", cli_size_text((double)coder->shape.raw_bytes, text));
  status = cli_codec_coder_encode(coder, raw);
  if (tell)
    fputs("\r\033[K", stderr);
  return status;
}

static int write_object(const struct cli_codec_coder *coder)
{
  struct cli_output file;
  int code = cli_output_begin(&file, output);

  if (code == CLI_OK)
    code = cli_output_write(&file, coder->out, coder->length);
  return cli_output_end(&file, code);
}

static int run(struct cli *cli, int n, char **arguments)
{
  struct kvi_codec_options coding = {0};
  struct cli_codec_coder coder = {0};
  struct cli_codec_chunk chunk = {0};
  struct cli_codec_profile profile = {0};
  kvs_status status;
  int code;

  (void)n;
  if (output == NULL)
    return cli_usage(&cli_codec_encode, "say with --output where the object goes");
  code = check_options(!cli_codec_is_tensor(arguments[0]), &coding);
  if (code == CLI_OK)
    code = cli_codec_read(&cli_codec_encode, arguments[0], &chunk);
  if (code == CLI_OK && profile_path != NULL) {
    code = cli_codec_profile_open(profile_path, &profile);
    if (code == CLI_OK)
      code = cli_codec_profile_check(profile_path, &profile.profile, &chunk.shape);
    coding.profile = &profile.profile;
  }
  if (code == CLI_OK) {
    status = cli_codec_coder_open(&chunk.shape, &coding, &coder);
    if (status == KVS_OK)
      status = encode(&coder, chunk.raw);
    if (status != KVS_OK)
      code = cli_codec_fail(arguments[0], "cannot be encoded: %s", kvs_status_text(status));
  }
  if (code == CLI_OK)
    code = write_object(&coder);
  if (code == CLI_OK)
    report(cli, &coder);
  cli_codec_coder_close(&coder);
  cli_codec_profile_close(&profile);
  free(chunk.raw);
  return code;
}

const struct cli_command cli_codec_encode = {
    .name = "codec encode",
    .arguments = "FILE",
    .summary = "Encode keys and values, or any file, to an object",
    .details =
        "FILE is a NumPy file (.npy, .npy.zst) with the keys, --values names that with the values: layer, "
        "token, head,\n"
        "dimension, or with sequences in front, of which one is taken. Any other file is taken as bytes.\n"
        "\n"
        "  kvasirctl codec encode k.npy --values v.npy -o chunk.kvc\n"
        "  kvasirctl codec encode k.npy --values v.npy -o chunk.kvc --level ladder --planes 3\n"
        "  kvasirctl codec encode cache-k.npy --axes lshtd --sequence 2 --dtype fp16 -o k.kvc\n"
        "  kvasirctl codec encode state.bin -o state.kvc",
    .words = "@file",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 1,
    .local = true,
    .run = run,
};
