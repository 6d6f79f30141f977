/*
 * What outlives a node as bytes: golden ones, and ones that were cut or changed. `test_tiers_remember_state print` prints the golden bytes anew, for the next version;
 * `corpus FOLDER` writes the seeds of fuzz_waiters.
 */
#include "remember_testing.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/text.h"
#include "golden_waiters_v1.h"
#include "tiers/policy/index_private.h"

#define SECOND_NS UINT64_C(1000000000)

static uint8_t *encoded(size_t *length_p)
{
  struct kvi_state state;
  uint8_t *bytes;

  state_make(&state);
  assert_int_equal(kvi_state_encode(&state, &bytes, length_p), KVS_OK);
  kvi_state_clear(&state);
  return bytes;
}

static void assert_same(const struct kvi_state *a, const struct kvi_state *b)
{
  assert_memory_equal(&a->clock, &b->clock, sizeof(a->clock));
  assert_string_equal(a->policy, b->policy);
  assert_memory_equal(a->secret, b->secret, sizeof(a->secret));
  assert_int_equal(a->n_spaces, b->n_spaces);
  assert_memory_equal(a->spaces, b->spaces, a->n_spaces * sizeof(*a->spaces));
  assert_int_equal(a->n_waiters, b->n_waiters);
  for (uint32_t i = 0; i < a->n_waiters; i++) {
    const struct kvi_policy_kept *one = &a->waiters[i].kept, *other = &b->waiters[i].kept;

    assert_memory_equal(a->waiters[i].tags, b->waiters[i].tags, sizeof(a->waiters[i].tags));
    assert_memory_equal(one->at, other->at, sizeof(one->at));
    assert_true(one->program == other->program && one->tool == other->tool && one->space == other->space);
    assert_true(one->used_ns == other->used_ns && one->seen_ns == other->seen_ns &&
                one->begins_ns == other->begins_ns);
    assert_true(one->n_chunks == other->n_chunks && one->n_whole == other->n_whole &&
                one->n_weighed == other->n_weighed && one->n_timed == other->n_timed &&
                one->source == other->source && one->kind == other->kind && one->answered == other->answered);
    assert_true(one->announced_s == other->announced_s && one->ttl_s == other->ttl_s &&
                one->weight == other->weight && one->cost == other->cost &&
                one->chunk_tokens == other->chunk_tokens && one->chunk_bytes == other->chunk_bytes);
  }
  assert_int_equal(a->n_learned, b->n_learned);
  assert_memory_equal(a->learned, b->learned, a->n_learned * sizeof(*a->learned));
  assert_int_equal(a->n_programs, b->n_programs);
  assert_memory_equal(a->programs, b->programs, a->n_programs * sizeof(*a->programs));
}

static void round_trip(void **state_p)
{
  struct kvi_state state, again;
  size_t length;
  uint8_t *bytes = encoded(&length);

  (void)state_p;
  state_make(&state);
  assert_int_equal(kvi_state_decode(bytes, length, &again), KVS_OK);
  assert_same(&state, &again);
  kvi_state_clear(&again);
  kvi_state_clear(&state);
  free(bytes);
}

static void golden(void **state_p)
{
  uint8_t bytes[sizeof(golden_waiters) / 2 + 1];
  struct kvi_state state, again;
  size_t length, written;
  uint8_t *own = encoded(&written);

  (void)state_p;
  assert_int_equal(kvi_hex_decode(golden_waiters, bytes, sizeof(bytes), &length), KVS_OK);
  state_make(&state);
  assert_int_equal(kvi_state_decode(bytes, length, &again), KVS_OK);
  assert_same(&state, &again);
  assert_int_equal(written, length);
  assert_memory_equal(own, bytes, length);
  kvi_state_clear(&again);
  kvi_state_clear(&state);
  free(own);
}

/* Of a waiter and of a program: in what was 0, and is 0 of those of whom nothing is said. */
static void ranges(void **state_p)
{
  struct kvi_state state, again;
  uint8_t *bytes, *plain;
  size_t length, at;

  (void)state_p;
  plain = encoded(&length);
  state_make(&state);
  state.waiters[1].kept.n_weighed = 0x01020304;
  state.waiters[1].kept.n_timed = 0x090a0b0c;
  state.programs[1].range_tokens = 0x05060708;
  assert_int_equal(kvi_state_encode(&state, &bytes, &length), KVS_OK);
  at = 256 + state.n_spaces * 104 + 168 + 84;
  assert_int_equal(kvi_load_le64(plain + at), 0);
  assert_int_equal(kvi_load_le32(bytes + at), 0x01020304);
  assert_int_equal(kvi_load_le32(bytes + at + 4), 0x090a0b0c);
  assert_int_equal(kvi_state_decode(bytes, length, &again), KVS_OK);
  assert_same(&state, &again);
  assert_int_equal(again.waiters[0].kept.n_weighed + again.waiters[0].kept.n_timed, 0);
  assert_int_equal(again.programs[1].range_tokens, 0x05060708);
  kvi_state_clear(&again);
  kvi_state_clear(&state);
  free(bytes);
  free(plain);
}

/* Refused, and nothing is left behind. */
static void assert_refused(const uint8_t *bytes, size_t length)
{
  static const struct kvi_state none;
  struct kvi_state state;
  kvs_status status = kvi_state_decode(bytes, length, &state);

  assert_true(status == KVS_ERR_CORRUPT || status == KVS_ERR_INVALID || status == KVS_ERR_VERSION);
  assert_memory_equal(&state, &none, sizeof(none));
}

/* ---- what was learned, by the tables of docs/formats/waiters.md ---- */

static void double_put(uint8_t *bytes, double value)
{
  uint64_t word;

  memcpy(&word, &value, sizeof(word));
  kvi_store_le64(bytes, word);
}

static uint32_t guard_put(uint8_t *bytes)
{
  memset(bytes, 0, 32);
  bytes[0] = 1;
  bytes[1] = 1;
  kvi_store_le32(bytes + 4, 42);
  double_put(bytes + 8, -1.5);
  double_put(bytes + 16, 6.25);
  double_put(bytes + 24, 0.125);
  return 32;
}

static uint32_t group_put(uint8_t *bytes, uint8_t group, uint32_t number, uint64_t tool, double skill)
{
  static const uint8_t three[] = {0, 0, 0x40, 0x40}, half[] = {0, 0, 0, 0x3f};

  memset(bytes, 0, 672);
  bytes[0] = 2;
  bytes[1] = group;
  kvi_store_le16(bytes + 2, 80);
  kvi_store_le32(bytes + 4, number);
  kvi_store_le64(bytes + 8, tool);
  double_put(bytes + 16, skill);
  memcpy(bytes + 32 + (size_t)4 * (10 + group), three, 4); /* came back */
  memcpy(bytes + 352 + (size_t)4 * 79, half, 4);           /* was given up */
  return 672;
}

/* A guard and a group of each kind are taken as the tables say, and written so again. */
static void golden_learned(void **state_p)
{
  const struct kvi_policy_ops *ops = &kvi_policy_index;
  struct kvi_class_learned learned;
  uint8_t parts[6][KVI_POLICY_LEARNED_MAX], bytes[KVI_POLICY_LEARNED_MAX];
  uint32_t lengths[6], n = 0;
  struct kvi_policy *policy;
  struct kvi_index *index;
  bool more = true, found[4] = {false};

  (void)state_p;
  lengths[0] = guard_put(parts[0]);
  lengths[1] = group_put(parts[1], 0, 0, 0, 0);
  lengths[2] = group_put(parts[2], 1, 6, 0, 0); /* from a request to the next */
  lengths[3] = group_put(parts[3], 1, KVI_WAIT_HUMAN, 0, 0);
  lengths[4] = group_put(parts[4], 2, KVI_WAIT_TOOL, UINT64_C(0x1122334455667788), 0);
  lengths[5] = group_put(parts[5], 3, 9, 0, 0.75);
  assert_int_equal(ops->create(64, &policy), KVS_OK);
  for (uint32_t i = 0; i < 6; i++)
    assert_true(ops->learn(policy, parts[i], lengths[i]));
  for (uint32_t part = 0; more; part++) {
    uint32_t length = ops->learned(policy, part, bytes, &more), same = 0;

    for (uint32_t i = 0; i < 6; i++)
      same += length == lengths[i] && memcmp(bytes, parts[i], length) == 0;
    assert_int_equal(same, length > 0);
    n += length > 0;
  }
  assert_int_equal(n, 6);
  index = kvi_index_of(policy);
  assert_int_equal(index->shadow.live, KVI_SHADOW_BY_PRICE);
  assert_int_equal(index->shadow.judged, 42);
  assert_true(index->shadow.lost == -1.5 && index->shadow.lost_squares == 6.25 &&
              index->first_value == 0.125);
  for (uint32_t i = 0; i < KVI_CLASSES_GROUPS; i++) {
    if (!kvi_classes_learned(index->classes, i, &learned))
      continue;
    assert_true(learned.ended.back[10 + learned.group] == 3 && learned.ended.away[79] == 0.5);
    if (learned.group == KVI_CLASS_TOOL)
      assert_true(learned.number == KVI_WAIT_TOOL && learned.tool == UINT64_C(0x1122334455667788));
    if (learned.group == KVI_CLASS_SOURCE)
      assert_true(learned.number == 9 && learned.skill == 0.75);
    found[learned.group] = true;
  }
  assert_true(found[0] && found[1] && found[2] && found[3]);
  ops->destroy(policy);
}

/* In memory of its own length, so that a sanitizer sees a step beyond it. */
static void every_cut(void **state_p)
{
  size_t length;
  uint8_t *bytes = encoded(&length);

  (void)state_p;
  for (size_t n = 0; n < length; n++) {
    uint8_t *cut = malloc(n + 1);

    memcpy(cut + 1, bytes, n);
    assert_refused(cut + 1, n);
    free(cut);
  }
  free(bytes);
}

static void every_flip(void **state_p)
{
  size_t length;
  uint8_t *bytes = encoded(&length);

  (void)state_p;
  for (size_t at = 0; at < length; at++)
    for (uint32_t bit = 0; bit < 8; bit++) {
      bytes[at] ^= (uint8_t)(1u << bit);
      assert_refused(bytes, length);
      bytes[at] ^= (uint8_t)(1u << bit);
    }
  free(bytes);
}

/* The same with a checksum that fits: it is refused, or what it says is within its bounds and is written again. */
static void every_flip_sealed(void **state_p)
{
  struct kvi_state state;
  size_t length, again_length;
  uint8_t *bytes = encoded(&length), *again;
  uint32_t taken = 0;
  kvs_status status;

  (void)state_p;
  for (size_t at = 12; at < length; at++) {
    bytes[at] ^= at % 4 ? 1 : 0xff;
    kvi_store_le32(bytes + 8, 0);
    kvi_store_le32(bytes + 8, kvi_crc32c_update(0, bytes, length));
    status = kvi_state_decode(bytes, length, &state);
    assert_true(status == KVS_OK || status == KVS_ERR_CORRUPT);
    if (status == KVS_OK) {
      taken++;
      for (uint32_t i = 0; i < state.n_waiters; i++)
        assert_true(state.waiters[i].kept.space < state.n_spaces &&
                    state.waiters[i].kept.used_ns <= KVI_STATE_AGE_MOST_NS);
      assert_int_equal(kvi_state_encode(&state, &again, &again_length), KVS_OK);
      free(again);
      kvi_state_clear(&state);
    }
    bytes[at] ^= at % 4 ? 1 : 0xff;
  }
  assert_true(taken > 0 && taken < length);
  free(bytes);
}

static void told_apart(void **state_p)
{
  struct kvi_state state;
  size_t length;
  uint8_t *bytes = encoded(&length);

  (void)state_p;
  bytes[4] = 2;
  assert_int_equal(kvi_state_decode(bytes, length, &state), KVS_ERR_CORRUPT); /* a flipped bit */
  kvi_store_le32(bytes + 8, 0);
  kvi_store_le32(bytes + 8, kvi_crc32c_update(0, bytes, length));
  assert_int_equal(kvi_state_decode(bytes, length, &state), KVS_ERR_VERSION);
  assert_int_equal(kvi_state_decode(bytes, 8, &state), KVS_ERR_CORRUPT);
  bytes[4] = 1;
  memset(bytes + 104, 0, (size_t)8 * KVI_STORE_SECRET_WORDS);
  kvi_store_le32(bytes + 8, 0);
  kvi_store_le32(bytes + 8, kvi_crc32c_update(0, bytes, length));
  assert_int_equal(kvi_state_decode(bytes, length, &state), KVS_ERR_CORRUPT);
  bytes[4] = 0;
  assert_int_equal(kvi_state_decode(bytes, length, &state), KVS_ERR_CORRUPT);
  assert_int_equal(kvi_state_decode(bytes, 0, &state), KVS_ERR_CORRUPT);
  assert_int_equal(kvi_state_decode(bytes, 3, &state), KVS_ERR_CORRUPT);
  assert_int_equal(kvi_state_decode((const uint8_t *)"# notes\n", 8, &state), KVS_ERR_INVALID);
  free(bytes);
}

/* More than a file holds is no file. */
static void bounds(void **state_p)
{
  struct kvi_state state;
  uint8_t *bytes;
  size_t length;

  (void)state_p;
  state_make(&state);
  state.n_waiters = KVI_STATE_WAITERS_MAX + 1; /* not looked at */
  assert_int_equal(kvi_state_encode(&state, &bytes, &length), KVS_ERR_TOO_LARGE);
  assert_null(bytes);
  kvi_state_clear(&state);
}

static void gaps(void **state_p)
{
  const struct kvi_state_clock saved = {.boot = "one", .boot_ns = 100 * SECOND_NS, .wall_ms = 1000000};
  struct kvi_state_clock now = saved;

  (void)state_p;
  assert_true(kvi_state_gap_ns(&saved, &now) == 0);
  now.boot_ns += 5 * SECOND_NS; /* the same start of the machine: whatever the wall clock says */
  now.wall_ms = 0;
  assert_true(kvi_state_gap_ns(&saved, &now) == 5 * SECOND_NS);
  now.wall_ms = UINT64_MAX;
  assert_true(kvi_state_gap_ns(&saved, &now) == 5 * SECOND_NS);
  memcpy(now.boot, "two", 4); /* another */
  now.wall_ms = 1007000;
  assert_true(kvi_state_gap_ns(&saved, &now) == 7 * SECOND_NS);
  now.wall_ms = 999999; /* it went back */
  assert_true(kvi_state_gap_ns(&saved, &now) == 0);
  now.wall_ms = UINT64_MAX; /* and far ahead */
  assert_true(kvi_state_gap_ns(&saved, &now) == KVI_STATE_GAP_MOST_NS);
  memset(&now.boot, 0, sizeof(now.boot)); /* a kernel that does not say */
  now.wall_ms = 1001000;
  assert_true(kvi_state_gap_ns(&now, &now) == 0);
  assert_true(kvi_state_gap_ns(&saved, &now) == SECOND_NS);
}

/* ---- writing them ---- */

static int golden_print(void)
{
  size_t length;
  uint8_t *bytes = encoded(&length);
  char hex[65];

  printf("static const char golden_waiters[] =\n");
  for (size_t at = 0; at < length; at += 32) {
    size_t n = length - at < 32 ? length - at : 32;

    if (kvi_hex_encode(bytes + at, n, hex, sizeof(hex)) == KVS_OK)
      printf("    \"%s\"%s\n", hex, at + n == length ? ";" : "");
  }
  free(bytes);
  return 0;
}

static int seed_write(const char *folder, const char *name, const struct kvi_state *state)
{
  uint8_t *bytes;
  size_t length;
  char path[512];
  FILE *file;

  if (kvi_state_encode(state, &bytes, &length) != KVS_OK)
    return 1;
  snprintf(path, sizeof(path), "%s/%s", folder, name);
  file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, length, file) != length)
    perror(path);
  if (file)
    fclose(file);
  free(bytes);
  return 0;
}

/* What a policy has learned of a tool that is back in two seconds. */
static void learned_make(struct kvi_state *state)
{
  const struct kvi_policy_ops *ops = &kvi_policy_index;
  const struct kvi_policy_use use = {.program = 1, .last = 0, .n_chunks = 1, .n_whole = 1};
  const struct kvi_policy_wait wait = {
      .program = 1, .last = 0, .n_chunks = 1, .kind = KVI_WAIT_TOOL, .tool = 5, .announced_s = 2};
  struct kvi_policy *policy;
  bool more = true;

  if (ops->create(64, &policy) != KVS_OK)
    abort();
  ops->insert(policy, 0, TESTING_CHUNK(KVI_POLICY_NONE), SECOND_NS);
  for (uint64_t i = 0; i < 10; i++) {
    ops->arrive(policy, &use, (1 + 2 * i) * SECOND_NS);
    (void)ops->wait(policy, &wait, (1 + 2 * i) * SECOND_NS);
  }
  free(state->learned);
  state->learned = calloc(256, sizeof(*state->learned));
  state->n_learned = 0;
  for (uint32_t part = 0; more && state->learned; part++) {
    struct kvi_state_learned *learned = &state->learned[state->n_learned];

    learned->length = ops->learned(policy, part, learned->bytes, &more);
    state->n_learned += learned->length > 0;
  }
  ops->destroy(policy);
}

static int corpus_write(const char *folder)
{
  struct kvi_state state, part;

  state_make(&state);
  seed_write(folder, "all", &state);
  part = state;
  part.n_spaces = part.n_waiters = part.n_learned = part.n_programs = 0;
  seed_write(folder, "none", &part);
  part = state;
  part.n_learned = part.n_programs = 0;
  seed_write(folder, "waiters", &part);
  part = state;
  part.n_waiters = part.n_spaces = 0;
  seed_write(folder, "programs", &part);
  learned_make(&state);
  part = state;
  part.n_programs = 0;
  seed_write(folder, "learned", &part);
  kvi_state_clear(&state);
  return 0;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip),
                                     cmocka_unit_test(golden),
                                     cmocka_unit_test(golden_learned),
                                     cmocka_unit_test(ranges),
                                     cmocka_unit_test(every_cut),
                                     cmocka_unit_test(every_flip),
                                     cmocka_unit_test(every_flip_sealed),
                                     cmocka_unit_test(told_apart),
                                     cmocka_unit_test(bounds),
                                     cmocka_unit_test(gaps)};

  if (argc > 1 && strcmp(argv[1], "print") == 0)
    return golden_print();
  if (argc > 2 && strcmp(argv[1], "corpus") == 0)
    return corpus_write(argv[2]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
