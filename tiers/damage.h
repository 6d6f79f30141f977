/*
 * tiers/damage.h: the names of the last chunks that were dropped because their bytes did not fit a checksum, so that an operator can tell which device
 * or which memory it is.
 *
 * Threads: any. The lock is a leaf.
 */
#ifndef KVASIR_TIERS_DAMAGE_H
#define KVASIR_TIERS_DAMAGE_H

#include <pthread.h>
#include <stdint.h>

#include <kvasir/keys.h>
#include <kvasir/space.h>

#include "tiers/tier.h"

#define KVI_DAMAGES_MAX       32u /* remembered; a new one takes the oldest one's place */
#define KVI_DAMAGE_TENANT_MAX 64u /* bytes of a tenant's name with its NUL; a longer one is cut */

enum kvi_damage_found {
  KVI_DAMAGE_BY_GET,   /* a get read it */
  KVI_DAMAGE_BY_SCRUB, /* the scrubber, or a move of what is to be kept */
  KVI_DAMAGE_BY_CHECK, /* somebody who had got it doubted it */
  KVI_DAMAGE_BY_CODER, /* it was to be encoded in memory */
};

struct kvi_damage {
  uint64_t at_ns; /* monotonic */
  char tenant[KVI_DAMAGE_TENANT_MAX];
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t key[KVS_KEY_MAX];
  uint32_t key_length;
  enum kvi_tier_kind tier; /* where the bytes lay */
  enum kvi_damage_found found;
};

struct kvi_damages {
  pthread_mutex_t lock;
  uint64_t n; /* ever */
  struct kvi_damage ring[KVI_DAMAGES_MAX];
};

void kvi_damages_init(struct kvi_damages *damages);
void kvi_damages_destroy(struct kvi_damages *damages);
/* Remembers it and logs it, a bounded number of lines a second. key_length <= KVS_KEY_MAX. */
void kvi_damages_note(struct kvi_damages *damages, const char *tenant, const uint8_t *space,
                      const uint8_t *key, uint32_t key_length, enum kvi_tier_kind tier,
                      enum kvi_damage_found found);
/* Copies them, the newest first. Returns how many there are. */
uint32_t kvi_damages_list(struct kvi_damages *damages, struct kvi_damage list[KVI_DAMAGES_MAX]);

/* "get", "scrub", "check", "coder" */
const char *kvi_damage_found_name(enum kvi_damage_found found);

#endif
