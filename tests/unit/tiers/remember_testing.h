/* remember_testing.h: a state of each kind of record, whose bytes are golden. */
#ifndef KVI_TESTS_UNIT_TIERS_REMEMBER_TESTING_H
#define KVI_TESTS_UNIT_TIERS_REMEMBER_TESTING_H

#include "testing.h"

#include "tiers/remember_state.h"

#define N_WAITERS 3u

/* kvi_state_clear frees it. */
static inline void state_make(struct kvi_state *state)
{
  *state = (struct kvi_state){.clock = {.boot = "boot", .boot_ns = 5000000000, .wall_ms = 1700000000000},
                              .policy = "index",
                              .spaces = calloc(2, sizeof(struct kvi_state_space)),
                              .waiters = calloc(N_WAITERS, sizeof(struct kvi_state_waiter)),
                              .learned = calloc(1, sizeof(struct kvi_state_learned)),
                              .programs = calloc(2, sizeof(struct kvi_program_record)),
                              .n_spaces = 2,
                              .n_waiters = N_WAITERS,
                              .n_learned = 1,
                              .n_programs = 2};
  for (uint32_t i = 0; i < KVI_STORE_SECRET_WORDS; i++)
    state->secret[i] = 0x0101010101010101u * (i + 1);
  for (uint32_t i = 0; i < 2; i++) {
    memset(state->spaces[i].digest, (int)(0xa0 + i), KVS_DIGEST_SIZE);
    memcpy(state->spaces[i].tenant, i ? "other" : TENANT, i ? 6 : sizeof(TENANT));
    state->spaces[i].key_length = KEY_BYTES;
  }
  for (uint32_t i = 0; i < N_WAITERS; i++) {
    state->waiters[i].kept = (struct kvi_policy_kept){.program = 100 + i,
                                                      .tool = i,
                                                      .used_ns = 3000 - i,
                                                      .seen_ns = 2000 - i,
                                                      .begins_ns = 1000 - i,
                                                      .n_chunks = 2 + i,
                                                      .n_whole = 4 + i,
                                                      .space = i % 2,
                                                      .source = 7,
                                                      .kind = KVI_WAIT_TOOL,
                                                      .announced_s = 1.5f,
                                                      .ttl_s = 90,
                                                      .weight = 2,
                                                      .chunk_tokens = 256,
                                                      .chunk_bytes = 4096,
                                                      .cost = 0.25f,
                                                      .answered = i != 0};
    for (uint32_t k = 0; k < KVI_POLICY_KEPT_CHUNKS; k++) {
      state->waiters[i].kept.at[k] = k < 2 ? 0 : KVI_POLICY_NONE;
      for (uint32_t word = 0; word < 3 && k < 2; word++)
        state->waiters[i].tags[k][word] = 1000 * i + 10 * k + word;
    }
  }
  state->learned[0].length = 5;
  memcpy(state->learned[0].bytes, "waits", 5);
  for (uint32_t i = 0; i < 2; i++)
    state->programs[i] = (struct kvi_program_record){.tenant = TENANT,
                                                     .name = "agent",
                                                     .parent = "",
                                                     .tool = "grep",
                                                     .turn = 3 + i,
                                                     .wait_kind = KVI_WAIT_TOOL,
                                                     .return_p50_ms = 1500,
                                                     .priority = 60,
                                                     .ttl_ms = 90000};
  state->programs[1].name[0] = 'A';
}

#endif
