/* Which loops run. */
#include "tiers/codec/path.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#if defined(__x86_64__)
#include "tiers/codec/rans_avx2.h"
#endif

/* All paths; those from n_paths on this machine lacks. */
static const struct kvi_codec_loops *const paths[] = {
    &kvi_codec_loops_scalar,
#if defined(__x86_64__)
    &kvi_codec_loops_avx2,   &kvi_codec_loops_avx2_no_gather,
    &kvi_codec_loops_avx512, &kvi_codec_loops_avx512_no_gather,
#endif
};
static size_t n_paths = 1;

static const struct kvi_codec_loops *chosen = &kvi_codec_loops_scalar;
static _Thread_local const struct kvi_codec_loops *chosen_by_thread;

#if defined(__x86_64__)
#define N_PATHS_AVX2   3u
#define N_PATHS_AVX512 5u

#define TRIAL_STEPS 8u

/* A decoder of noise. */
static void open_noise(struct kvi_rans_decoder *decoder)
{
  static const uint8_t words[TRIAL_STEPS * KVI_TILE_ROWS / 2 * 4 * KVI_RANS_LANES * 2];

  decoder->n_groups = 4;
  decoder->words = words;
  decoder->words_end = words + sizeof words;
  decoder->in_tail = false;
  for (uint32_t lane = 0; lane < KVI_RANS_LANES; lane++)
    decoder->state[lane] = KVI_RANS_LOW + lane * 2654435761u % KVI_RANS_LOW;
  for (uint32_t column = 0; column < KVI_BLOCK_COLUMNS; column++)
    decoder->table[column] = (8 + column % 8) * KVI_RANS_SLOTS;
}

/* Nanoseconds to decode noise a few times: no sound rows, but the same look-ups. The least of several tries. */
static uint64_t trial(const struct kvi_codec_loops *loops)
{
  struct kvi_rans_decoder a, b;
  uint64_t least = UINT64_MAX;

  for (uint32_t attempt = 0; attempt < 8; attempt++) {
    uint64_t before, taken;

    open_noise(&a);
    open_noise(&b);
    before = kvi_now_ns();
    for (uint32_t step = 0; step < TRIAL_STEPS; step++)
      loops->rans_pairs_of_two(&a, &b, KVI_TILE_ROWS / 2);
    taken = kvi_now_ns() - before;
    least = taken < least ? taken : least;
  }
  return least;
}

/* Whether the processor has it and the system keeps its registers, which the compiler's function looks at as well. */
static bool has_avx512(void)
{
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2");
}

static void choose(void)
{
  uint64_t least = UINT64_MAX;

  if (!__builtin_cpu_supports("avx2"))
    return;
  kvi_rans_avx2_init();
  n_paths = N_PATHS_AVX2;
  if (has_avx512()) {
    kvi_codec_loops_avx512_init();
    n_paths = N_PATHS_AVX512;
  }
  /* Not by the processor's name: whether its gathers are slow is a matter of its microcode. */
  for (size_t i = 1; i < n_paths; i++) {
    uint64_t taken = trial(paths[i]);

    chosen = taken < least ? paths[i] : chosen;
    least = taken < least ? taken : least;
  }
}
#else
static void choose(void) {}
#endif

static void init(void)
{
  kvi_rans_make_tables();
  choose();
}

void kvi_codec_init(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once(&once, init);
}

const struct kvi_codec_loops *kvi_codec_loops(void)
{
  return chosen_by_thread != NULL ? chosen_by_thread : chosen;
}

const char *kvi_codec_path(void)
{
  kvi_codec_init();
  return kvi_codec_loops()->name;
}

kvs_status kvi_codec_use_path(const char *name)
{
  kvi_codec_init();
  chosen_by_thread = NULL;
  if (name == NULL)
    return KVS_OK;
  for (size_t i = 0; i < n_paths; i++)
    if (strcmp(paths[i]->name, name) == 0)
      chosen_by_thread = paths[i];
  return chosen_by_thread != NULL ? KVS_OK : KVS_ERR_UNSUPPORTED;
}
