/* Which methods are measured: those with a line of their own, and the points of the rate-distortion curves. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "tests/bench/codec/method.h"
#include "tiers/codec/codec.h"

struct list {
  struct codec_method *methods;
  size_t n, room;
};

static struct codec_method *add(struct list *list, const struct codec_method *method, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static struct codec_method *add(struct list *list, const struct codec_method *method, const char *format, ...)
{
  struct codec_method *added = &list->methods[list->n];
  va_list arguments;

  if (list->n == list->room)
    return NULL;
  *added = *method;
  va_start(arguments, format);
  vsnprintf(added->name, sizeof added->name, format, arguments);
  va_end(arguments);
  list->n++;
  return added;
}

static void add_ours(struct list *list)
{
  struct codec_method plain = {.listed = true, .code = codec_ours};

  plain.a = KVI_CODEC_RAW;
  add(list, &plain, "raw");
  plain.a = KVI_CODEC_LOSSLESS;
  add(list, &plain, "lossless");
  for (uint32_t planes = KVI_CODEC_PLANES_MAX + 1; planes-- > 0;) {
    struct codec_method ladder = {.listed = true, .code = codec_ours, .a = KVI_CODEC_LADDER};

    ladder.b = planes;
    ladder.c = planes;
    add(list, &ladder, "ladder-p%u", planes);
  }
  /* What a tier has left of the longest object after it dropped planes. */
  for (uint32_t quality = KVI_CODEC_PLANES_MAX; quality-- > 0;) {
    struct codec_method cut = {.listed = true, .code = codec_ours, .a = KVI_CODEC_LADDER};

    cut.b = KVI_CODEC_PLANES_MAX;
    cut.c = quality;
    add(list, &cut, "ladder-p3-cut-p%u", quality);
  }
  plain.a = KVI_CODEC_CACHEGEN;
  add(list, &plain, "cachegen");
}

static void add_peers(struct list *list)
{
  static const uint32_t group_bits[] = {8, 4, 2};
  static const uint32_t zstd_levels[] = {1, 3};
  struct codec_method method = {.listed = true};

  method.code = codec_lmcache;
  method.a = 32;
  method.b = 16;
  add(list, &method, "lmcache-32-16");
  method.a = 16;
  add(list, &method, "lmcache-16-16");
  method.code = codec_group;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(group_bits); i++) {
    method.a = group_bits[i];
    add(list, &method, "int%u-g32", group_bits[i]);
  }
  method.code = codec_q8_0;
  add(list, &method, "q8_0");
  method.code = codec_zstd;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(zstd_levels); i++) {
    method.a = zstd_levels[i];
    add(list, &method, "zstd-%u", zstd_levels[i]);
  }
  method.code = codec_lz4;
  add(list, &method, "lz4");
}

/* The ladder with one base step and coded directly with a third, a ninth: the same final step. The pairs differ by less than 1/800 in it. */
static void add_pairs(struct list *list)
{
  struct codec_method progressive = {.listed = false, .code = codec_ours, .a = KVI_CODEC_LADDER};
  struct codec_method direct = progressive;

  progressive.b = progressive.c = 1;
  progressive.d = 801;
  direct.d = 267;
  add(list, &progressive, "step801-p1");
  add(list, &direct, "step267-p0");
  progressive.b = progressive.c = 2;
  progressive.d = 900;
  direct.d = 100;
  add(list, &progressive, "step900-p2");
  add(list, &direct, "step100-p0");
}

static void add_curves(struct list *list)
{
  static const uint32_t lmcache_bins[] = {6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
  static const uint32_t steps[] = {400, 500, 630, 800, 1000, 1260, 1600, 2000};
  static const uint32_t cachegen[] = {250, 350, 500, 700, 1000, 1400, 2000, 2800, 4000};
  static const uint32_t ideal[] = {30, 60, 89, 125, 178, 267, 400, 566, 800, 1131};
  struct codec_method method = {.code = codec_lmcache};

  for (size_t i = 0; i < KVI_ARRAY_SIZE(lmcache_bins); i++) {
    method.a = 2 * lmcache_bins[i];
    method.b = lmcache_bins[i];
    method.curve = "lmcache";
    add(list, &method, "lmcache-curve-%u-%u", method.a, method.b);
    method.a = lmcache_bins[i];
    method.curve = "lmcache-flat";
    add(list, &method, "lmcache-curve-%u", method.a);
  }
  method = (struct codec_method){.curve = "ladder", .code = codec_ours, .a = KVI_CODEC_LADDER};
  for (method.b = 0; method.b <= KVI_CODEC_PLANES_MAX; method.b++)
    for (size_t i = 0; i < KVI_ARRAY_SIZE(steps); i++) {
      method.c = method.b;
      method.d = steps[i];
      add(list, &method, "ladder-curve-p%u-%u", method.b, method.d);
    }
  method = (struct codec_method){.curve = "cachegen", .code = codec_ours, .a = KVI_CODEC_CACHEGEN};
  for (size_t i = 0; i < KVI_ARRAY_SIZE(cachegen); i++) {
    method.d = cachegen[i];
    add(list, &method, "cachegen-curve-%u", method.d);
  }
  method = (struct codec_method){.curve = "ideal", .code = codec_ideal};
  for (size_t i = 0; i < KVI_ARRAY_SIZE(ideal); i++) {
    method.a = ideal[i];
    add(list, &method, "ideal-curve-%u", method.a);
  }
  method = (struct codec_method){.curve = "groups", .code = codec_group};
  for (uint32_t bits = 2; bits <= 8; bits++) {
    method.a = bits;
    add(list, &method, "groups-curve-%u", bits);
  }
}

size_t codec_methods(struct codec_method *methods, size_t room)
{
  struct list list = {.methods = methods, .room = room};

  add_ours(&list);
  add_peers(&list);
  add_pairs(&list);
  add_curves(&list);
  return list.n;
}
