#include "tiers/remember_state.h"

#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "tiers/policy/classes.h"

#define MAGIC         UINT32_C(0x3157564B) /* "KVW1" */
#define VERSION       1u
#define HEADER        256u
#define AT_CRC        8u
#define AT_SECRET     104u
#define SPACE_BYTES   104u
#define WAITER_BYTES  168u
#define AT_TAGS       96u
#define PROGRAM_FIXED 32u /* of a program's record, before its texts */

void kvi_state_clear(struct kvi_state *state)
{
  free(state->spaces);
  free(state->waiters);
  free(state->learned);
  free(state->programs);
  *state = (struct kvi_state){0};
}

/* As tiers/policy/index_kept.c writes it: the hash is useless with another secret, and takes a tool's place. */
static bool is_of_tool(const struct kvi_state_learned *learned)
{
  return learned->length >= 2 && learned->bytes[0] == 2 && learned->bytes[1] == KVI_CLASS_TOOL;
}

void kvi_state_disclose(struct kvi_state *state)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < state->n_learned; i++)
    if (!is_of_tool(&state->learned[i]))
      state->learned[n++] = state->learned[i];
  state->n_learned = n;
  state->n_waiters = 0;
  memset(state->secret, 0, sizeof(state->secret));
}

/* ---- time ---- */

static bool boot_is_known(const struct kvi_state_clock *clock)
{
  static const uint8_t none[sizeof(clock->boot)];

  return memcmp(clock->boot, none, sizeof(none)) != 0;
}

uint64_t kvi_state_gap_ns(const struct kvi_state_clock *saved, const struct kvi_state_clock *now)
{
  uint64_t ms;

  if (boot_is_known(saved) && memcmp(saved->boot, now->boot, sizeof(now->boot)) == 0 &&
      now->boot_ns >= saved->boot_ns) {
    uint64_t ns = now->boot_ns - saved->boot_ns;

    return ns < KVI_STATE_GAP_MOST_NS ? ns : KVI_STATE_GAP_MOST_NS;
  }
  ms = now->wall_ms > saved->wall_ms ? now->wall_ms - saved->wall_ms : 0;
  return ms < KVI_STATE_GAP_MOST_NS / KVI_NS_PER_MS ? ms * KVI_NS_PER_MS : KVI_STATE_GAP_MOST_NS;
}

/* ---- records ---- */

static void space_store(uint8_t *bytes, const struct kvi_state_space *space)
{
  memset(bytes, 0, SPACE_BYTES);
  memcpy(bytes, space->digest, KVS_DIGEST_SIZE);
  memcpy(bytes + 32, space->tenant, strlen(space->tenant));
  kvi_store_le32(bytes + 96, space->key_length);
}

static bool space_load(const uint8_t *bytes, struct kvi_state_space *space)
{
  memcpy(space->digest, bytes, KVS_DIGEST_SIZE);
  memcpy(space->tenant, bytes + 32, KVI_TENANT_MAX);
  space->key_length = kvi_load_le32(bytes + 96);
  return space->tenant[0] != '\0' && space->tenant[KVI_TENANT_MAX - 1] == '\0' &&
         space->key_length >= KVS_KEY_MIN && space->key_length <= KVS_KEY_MAX;
}

static void waiter_store(uint8_t *bytes, const struct kvi_state_waiter *waiter)
{
  const struct kvi_policy_kept *kept = &waiter->kept;

  memset(bytes, 0, WAITER_BYTES);
  kvi_store_le64(bytes, kept->program);
  kvi_store_le64(bytes + 8, kept->tool);
  kvi_store_le64(bytes + 16, kept->used_ns);
  kvi_store_le64(bytes + 24, kept->seen_ns);
  kvi_store_le64(bytes + 32, kept->begins_ns);
  kvi_store_le32(bytes + 40, kept->space);
  kvi_store_le32(bytes + 44, kept->n_chunks);
  kvi_store_le32(bytes + 48, kept->n_whole);
  kvi_store_le32(bytes + 52, kept->source);
  kvi_store_le_float(bytes + 56, kept->announced_s);
  kvi_store_le_float(bytes + 60, kept->ttl_s);
  kvi_store_le_float(bytes + 64, kept->weight);
  kvi_store_le_float(bytes + 68, kept->chunk_tokens);
  kvi_store_le_float(bytes + 72, kept->chunk_bytes);
  kvi_store_le_float(bytes + 76, kept->cost);
  bytes[80] = (uint8_t)kept->kind;
  bytes[81] = kept->answered;
  kvi_store_le32(bytes + 84, kept->n_weighed);
  kvi_store_le32(bytes + 88, kept->n_timed);
  for (uint32_t i = 0; i < KVI_POLICY_KEPT_CHUNKS; i++) {
    if (kept->at[i] == KVI_POLICY_NONE)
      continue;
    bytes[82] |= (uint8_t)(1u << i);
    for (uint32_t word = 0; word < 3; word++)
      kvi_store_le32(bytes + AT_TAGS + (size_t)12 * i + (size_t)4 * word, waiter->tags[i][word]);
  }
}

static uint64_t age_load(const uint8_t *bytes)
{
  uint64_t age = kvi_load_le64(bytes);

  return age < KVI_STATE_AGE_MOST_NS ? age : KVI_STATE_AGE_MOST_NS;
}

/* What its numbers mean, and whether they can be, is the policy's. */
static bool waiter_load(const uint8_t *bytes, uint32_t n_spaces, struct kvi_state_waiter *waiter)
{
  struct kvi_policy_kept *kept = &waiter->kept;

  *kept = (struct kvi_policy_kept){.program = kvi_load_le64(bytes),
                                   .tool = kvi_load_le64(bytes + 8),
                                   .used_ns = age_load(bytes + 16),
                                   .seen_ns = age_load(bytes + 24),
                                   .begins_ns = age_load(bytes + 32),
                                   .space = kvi_load_le32(bytes + 40),
                                   .n_chunks = kvi_load_le32(bytes + 44),
                                   .n_whole = kvi_load_le32(bytes + 48),
                                   .source = kvi_load_le32(bytes + 52),
                                   .announced_s = kvi_load_le_float(bytes + 56),
                                   .ttl_s = kvi_load_le_float(bytes + 60),
                                   .weight = kvi_load_le_float(bytes + 64),
                                   .chunk_tokens = kvi_load_le_float(bytes + 68),
                                   .chunk_bytes = kvi_load_le_float(bytes + 72),
                                   .cost = kvi_load_le_float(bytes + 76),
                                   .kind = (enum kvi_wait_kind)bytes[80],
                                   .answered = bytes[81] == 1,
                                   .n_weighed = kvi_load_le32(bytes + 84),
                                   .n_timed = kvi_load_le32(bytes + 88)};
  for (uint32_t i = 0; i < KVI_POLICY_KEPT_CHUNKS; i++) {
    kept->at[i] = bytes[82] >> i & 1 ? 0 : KVI_POLICY_NONE;
    for (uint32_t word = 0; word < 3; word++)
      waiter->tags[i][word] = kvi_load_le32(bytes + AT_TAGS + (size_t)12 * i + (size_t)4 * word);
  }
  return kept->space < n_spaces && bytes[80] < KVI_WAIT_KINDS && bytes[81] <= 1 && kept->n_chunks > 0;
}

static size_t text_store(uint8_t *bytes, const char *text)
{
  size_t length = strlen(text);

  bytes[0] = (uint8_t)length;
  memcpy(bytes + 1, text, length);
  return 1 + length;
}

static size_t program_length(const struct kvi_program_record *program)
{
  return PROGRAM_FIXED + 4 + strlen(program->tenant) + strlen(program->name) + strlen(program->parent) +
         strlen(program->tool);
}

static size_t program_store(uint8_t *bytes, const struct kvi_program_record *program)
{
  size_t at = PROGRAM_FIXED;

  memset(bytes, 0, PROGRAM_FIXED);
  kvi_store_le32(bytes, program->turn);
  kvi_store_le32(bytes + 4, program->wait_kind);
  kvi_store_le32(bytes + 8, program->return_p50_ms);
  kvi_store_le32(bytes + 12, program->return_p90_ms);
  kvi_store_le32(bytes + 16, program->priority);
  kvi_store_le32(bytes + 20, program->ttl_ms);
  kvi_store_le32(bytes + 24, program->range_tokens);
  at += text_store(bytes + at, program->tenant);
  at += text_store(bytes + at, program->name);
  at += text_store(bytes + at, program->parent);
  return at + text_store(bytes + at, program->tool);
}

/* A text of at most room - 1 bytes. False: it is longer, cut, or has a zero. */
static bool text_load(const uint8_t *bytes, size_t length, size_t *at, char *text, size_t room)
{
  size_t n;

  if (*at >= length)
    return false;
  n = bytes[(*at)++];
  if (n >= room || n > length - *at || memchr(bytes + *at, 0, n))
    return false;
  memcpy(text, bytes + *at, n);
  text[n] = '\0';
  *at += n;
  return true;
}

static bool program_load(const uint8_t *bytes, size_t length, size_t *at, struct kvi_program_record *program)
{
  const uint8_t *fixed = bytes + *at;

  if (length - *at < PROGRAM_FIXED)
    return false;
  program->turn = kvi_load_le32(fixed);
  program->wait_kind = kvi_load_le32(fixed + 4);
  program->return_p50_ms = kvi_load_le32(fixed + 8);
  program->return_p90_ms = kvi_load_le32(fixed + 12);
  program->priority = kvi_load_le32(fixed + 16);
  program->ttl_ms = kvi_load_le32(fixed + 20);
  program->range_tokens = kvi_load_le32(fixed + 24);
  *at += PROGRAM_FIXED;
  return text_load(bytes, length, at, program->tenant, sizeof(program->tenant)) &&
         text_load(bytes, length, at, program->name, sizeof(program->name)) &&
         text_load(bytes, length, at, program->parent, sizeof(program->parent)) &&
         text_load(bytes, length, at, program->tool, sizeof(program->tool));
}

/* ---- the whole ---- */

static size_t length_of(const struct kvi_state *state)
{
  size_t length = HEADER + (size_t)state->n_spaces * SPACE_BYTES + (size_t)state->n_waiters * WAITER_BYTES;

  for (uint32_t i = 0; i < state->n_learned; i++)
    length += 4 + (size_t)state->learned[i].length;
  for (uint32_t i = 0; i < state->n_programs; i++)
    length += program_length(&state->programs[i]);
  return length;
}

static void header_store(uint8_t *bytes, const struct kvi_state *state, size_t length)
{
  memset(bytes, 0, HEADER);
  kvi_store_le32(bytes, MAGIC);
  kvi_store_le16(bytes + 4, VERSION);
  kvi_store_le16(bytes + 6, HEADER);
  kvi_store_le64(bytes + 16, length);
  kvi_store_le64(bytes + 24, state->clock.wall_ms);
  kvi_store_le64(bytes + 32, state->clock.boot_ns);
  memcpy(bytes + 40, state->clock.boot, sizeof(state->clock.boot));
  memcpy(bytes + 56, state->policy, strnlen(state->policy, sizeof(state->policy)));
  kvi_store_le32(bytes + 72, state->n_spaces);
  kvi_store_le32(bytes + 76, state->n_waiters);
  kvi_store_le32(bytes + 80, state->n_learned);
  kvi_store_le32(bytes + 84, state->n_programs);
  for (uint32_t i = 0; i < KVI_STORE_SECRET_WORDS; i++)
    kvi_store_le64(bytes + AT_SECRET + (size_t)8 * i, state->secret[i]);
}

kvs_status kvi_state_encode(const struct kvi_state *state, uint8_t **bytes_p, size_t *length_p)
{
  size_t length = length_of(state), at = HEADER;
  uint8_t *bytes;

  *bytes_p = NULL;
  *length_p = 0;
  if (state->n_spaces > KVI_STATE_SPACES_MAX || state->n_waiters > KVI_STATE_WAITERS_MAX ||
      state->n_learned > KVI_STATE_LEARNED_MAX || state->n_programs > KVI_STATE_PROGRAMS_MAX ||
      length > KVI_STATE_BYTES_MAX)
    return KVS_ERR_TOO_LARGE;
  bytes = malloc(length);
  if (!bytes)
    return KVS_ERR_NOMEM;
  header_store(bytes, state, length);
  for (uint32_t i = 0; i < state->n_spaces; i++, at += SPACE_BYTES)
    space_store(bytes + at, &state->spaces[i]);
  for (uint32_t i = 0; i < state->n_waiters; i++, at += WAITER_BYTES)
    waiter_store(bytes + at, &state->waiters[i]);
  for (uint32_t i = 0; i < state->n_learned; i++) {
    kvi_store_le32(bytes + at, state->learned[i].length);
    memcpy(bytes + at + 4, state->learned[i].bytes, state->learned[i].length);
    at += 4 + (size_t)state->learned[i].length;
  }
  for (uint32_t i = 0; i < state->n_programs; i++)
    at += program_store(bytes + at, &state->programs[i]);
  kvi_store_le32(bytes + AT_CRC, kvi_crc32c_update(0, bytes, length));
  *bytes_p = bytes;
  *length_p = length;
  return KVS_OK;
}

/* The checksum is of the bytes with its own field zero. */
static bool sum_fits(const uint8_t *bytes, size_t length)
{
  static const uint8_t zero[4];
  uint32_t sum = kvi_crc32c_update(0, bytes, AT_CRC);

  sum = kvi_crc32c_update(sum, zero, sizeof(zero));
  sum = kvi_crc32c_update(sum, bytes + AT_CRC + 4, length - AT_CRC - 4);
  return sum == kvi_load_le32(bytes + AT_CRC);
}

/* The least that so many records take: what is asked for is bounded by what the bytes can hold. */
static bool counts_fit(const struct kvi_state *state, size_t length)
{
  uint64_t least = (uint64_t)state->n_spaces * SPACE_BYTES + (uint64_t)state->n_waiters * WAITER_BYTES +
                   (uint64_t)state->n_learned * 4 + (uint64_t)state->n_programs * (PROGRAM_FIXED + 4);

  return state->policy[sizeof(state->policy) - 1] == '\0' && state->n_spaces <= KVI_STATE_SPACES_MAX &&
         state->n_waiters <= KVI_STATE_WAITERS_MAX && state->n_learned <= KVI_STATE_LEARNED_MAX &&
         state->n_programs <= KVI_STATE_PROGRAMS_MAX && least <= length - HEADER;
}

static bool secret_is_some(const struct kvi_state *state)
{
  uint64_t bits = 0;

  for (uint32_t i = 0; i < KVI_STORE_SECRET_WORDS; i++)
    bits |= state->secret[i];
  return bits != 0;
}

static kvs_status header_load(const uint8_t *bytes, size_t length, struct kvi_state *state)
{
  uint8_t magic[4];

  kvi_store_le32(magic, MAGIC);
  if (memcmp(bytes, magic, length < sizeof(magic) ? length : sizeof(magic)) != 0)
    return KVS_ERR_INVALID;
  if (length < AT_CRC + 4)
    return KVS_ERR_CORRUPT;
  if (kvi_load_le16(bytes + 4) > VERSION) /* it has its checksum in the same place */
    return sum_fits(bytes, length) ? KVS_ERR_VERSION : KVS_ERR_CORRUPT;
  if (length < HEADER || length > KVI_STATE_BYTES_MAX || kvi_load_le16(bytes + 4) != VERSION ||
      kvi_load_le16(bytes + 6) != HEADER || kvi_load_le64(bytes + 16) != length || !sum_fits(bytes, length))
    return KVS_ERR_CORRUPT;
  state->clock.wall_ms = kvi_load_le64(bytes + 24);
  state->clock.boot_ns = kvi_load_le64(bytes + 32);
  memcpy(state->clock.boot, bytes + 40, sizeof(state->clock.boot));
  memcpy(state->policy, bytes + 56, sizeof(state->policy));
  state->n_spaces = kvi_load_le32(bytes + 72);
  state->n_waiters = kvi_load_le32(bytes + 76);
  state->n_learned = kvi_load_le32(bytes + 80);
  state->n_programs = kvi_load_le32(bytes + 84);
  for (uint32_t i = 0; i < KVI_STORE_SECRET_WORDS; i++)
    state->secret[i] = kvi_load_le64(bytes + AT_SECRET + (size_t)8 * i);
  return counts_fit(state, length) && secret_is_some(state) ? KVS_OK : KVS_ERR_CORRUPT;
}

static bool room_make(struct kvi_state *state)
{
  state->spaces = calloc((size_t)state->n_spaces + 1, sizeof(*state->spaces));
  state->waiters = calloc((size_t)state->n_waiters + 1, sizeof(*state->waiters));
  state->learned = calloc((size_t)state->n_learned + 1, sizeof(*state->learned));
  state->programs = calloc((size_t)state->n_programs + 1, sizeof(*state->programs));
  return state->spaces && state->waiters && state->learned && state->programs;
}

static bool learned_load(const uint8_t *bytes, size_t length, size_t *at, struct kvi_state_learned *learned)
{
  if (length - *at < 4)
    return false;
  learned->length = kvi_load_le32(bytes + *at);
  *at += 4;
  if (learned->length > sizeof(learned->bytes) || learned->length > length - *at)
    return false;
  memcpy(learned->bytes, bytes + *at, learned->length);
  *at += learned->length;
  return true;
}

static bool records_load(const uint8_t *bytes, size_t length, struct kvi_state *state)
{
  size_t at = HEADER;
  bool good = true;

  for (uint32_t i = 0; i < state->n_spaces && good; i++, at += SPACE_BYTES)
    good = space_load(bytes + at, &state->spaces[i]);
  for (uint32_t i = 0; i < state->n_waiters && good; i++, at += WAITER_BYTES)
    good = waiter_load(bytes + at, state->n_spaces, &state->waiters[i]);
  for (uint32_t i = 0; i < state->n_learned && good; i++)
    good = learned_load(bytes, length, &at, &state->learned[i]);
  for (uint32_t i = 0; i < state->n_programs && good; i++)
    good = program_load(bytes, length, &at, &state->programs[i]);
  return good && at == length;
}

kvs_status kvi_state_decode(const uint8_t *bytes, size_t length, struct kvi_state *state_p)
{
  kvs_status status;

  *state_p = (struct kvi_state){0};
  status = header_load(bytes, length, state_p);
  if (status == KVS_OK && !room_make(state_p))
    status = KVS_ERR_NOMEM;
  if (status == KVS_OK && !records_load(bytes, length, state_p))
    status = KVS_ERR_CORRUPT;
  if (status != KVS_OK)
    kvi_state_clear(state_p);
  return status;
}
