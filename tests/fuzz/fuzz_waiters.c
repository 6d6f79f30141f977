/*
 * Any bytes as the file of who waits, as they are and with the checksum made to fit: what is accepted is within its bounds and is written again to what is read as the same; and a policy that is given
 * it has prices that are numbers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tiers/remember_state.h"

#define AT_CRC  8u
#define CHUNKS  8u
#define NOW_NS  (2 * KVI_STATE_AGE_MOST_NS)
#define TRIED   64u
#define STEP_NS UINT64_C(7000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
  if (!holds)
    abort();
}

static void check_accepted(const struct kvi_state *state)
{
  struct kvi_state again;
  uint8_t *bytes, *more;
  size_t length, more_length;

  for (uint32_t i = 0; i < state->n_waiters; i++)
    require(state->waiters[i].kept.space < state->n_spaces &&
            state->waiters[i].kept.begins_ns <= KVI_STATE_AGE_MOST_NS);
  for (uint32_t i = 0; i < state->n_programs; i++)
    require(strlen(state->programs[i].tenant) < KVI_TENANT_MAX &&
            strlen(state->programs[i].name) <= KVI_PROGRAM_TEXT_MAX);
  require(kvi_state_encode(state, &bytes, &length) == KVS_OK);
  require(kvi_state_decode(bytes, length, &again) == KVS_OK);
  require(kvi_state_encode(&again, &more, &more_length) == KVS_OK);
  require(length == more_length && memcmp(bytes, more, length) == 0);
  kvi_state_clear(&again);
  free(more);
  free(bytes);
}

static void give_to_policy(const struct kvi_state *state)
{
  const struct kvi_policy_ops *ops = &kvi_policy_index;
  struct kvi_policy *policy;
  uint32_t wanted[CHUNKS];

  require(ops->create(CHUNKS, &policy) == KVS_OK);
  for (uint32_t i = 0; i < CHUNKS; i++)
    ops->insert(policy, i,
                &(const struct kvi_policy_chunk){.parent = i % 4 ? i - 1 : KVI_POLICY_NONE, .bytes = 4096},
                NOW_NS);
  ops->memory_told(policy, CHUNKS, 1e-4);
  for (uint32_t i = 0; i < CHUNKS; i++)
    ops->move(policy, i, KVI_POLICY_MEDIUM);
  for (uint32_t i = 0; i < state->n_learned; i++)
    (void)ops->learn(policy, state->learned[i].bytes, state->learned[i].length);
  for (uint32_t i = 0; i < state->n_waiters && i < TRIED; i++) {
    struct kvi_policy_kept kept = state->waiters[i].kept;

    kept.at[0] = i % CHUNKS;
    kept.used_ns = NOW_NS - kept.used_ns;
    kept.seen_ns = NOW_NS - kept.seen_ns;
    kept.begins_ns = NOW_NS - kept.begins_ns;
    (void)ops->restore(policy, &kept, NOW_NS);
  }
  ops->relearn(policy, NOW_NS);
  for (uint32_t i = 0; i < TRIED; i++)
    require(ops->promotion(policy, &(const struct kvi_policy_ahead){.most = CHUNKS, .one = KVI_POLICY_NONE},
                           wanted, NOW_NS + i * STEP_NS) <= CHUNKS);
  for (uint32_t i = 0; i < CHUNKS; i++)
    ops->move(policy, i, KVI_POLICY_MEMORY);
  for (uint32_t i = 0; i < CHUNKS; i++) {
    uint32_t victim = ops->victim(policy, KVI_POLICY_MEMORY, NOW_NS);
    struct kvi_policy_info info;

    require(victim < CHUNKS);
    ops->info(policy, victim, &info);
    require(info.price >= 0);
    (void)ops->remove(policy, victim);
  }
  ops->destroy(policy);
}

static void try_bytes(const uint8_t *bytes, size_t size)
{
  struct kvi_state state;
  kvs_status status = kvi_state_decode(bytes, size, &state);

  if (status != KVS_OK) {
    require((status == KVS_ERR_CORRUPT || status == KVS_ERR_VERSION || status == KVS_ERR_INVALID) &&
            !state.waiters && state.n_waiters == 0);
    return;
  }
  check_accepted(&state);
  give_to_policy(&state);
  kvi_state_clear(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint8_t *sealed;

  try_bytes(data, size);
  if (size < 24)
    return 0;
  sealed = malloc(size);
  require(sealed != NULL);
  memcpy(sealed, data, size);
  kvi_store_le64(sealed + 16, size);
  kvi_store_le32(sealed + AT_CRC, 0);
  kvi_store_le32(sealed + AT_CRC, kvi_crc32c_update(0, sealed, size));
  try_bytes(sealed, size);
  free(sealed);
  return 0;
}
