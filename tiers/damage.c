/* tiers/damage.c: the names of the last chunks that were dropped because of a checksum. */
#include "tiers/damage.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#define SPACE_TOLD 4u /* bytes of the digest in the log */

void kvi_damages_init(struct kvi_damages *damages)
{
  memset(damages, 0, sizeof(*damages));
  pthread_mutex_init(&damages->lock, NULL);
}

void kvi_damages_destroy(struct kvi_damages *damages)
{
  pthread_mutex_destroy(&damages->lock);
}

const char *kvi_damage_found_name(enum kvi_damage_found found)
{
  static const char *const names[] = {"get", "scrub", "check", "coder"};

  return names[found];
}

static const char *tier_place(enum kvi_tier_kind tier)
{
  static const char *const places[] = {"nowhere", "in memory", "on ssd", "in redis", "on gpu"};

  return places[tier];
}

void kvi_damages_note(struct kvi_damages *damages, const char *tenant, const uint8_t *space,
                      const uint8_t *key, uint32_t key_length, enum kvi_tier_kind tier,
                      enum kvi_damage_found found)
{
  char key_text[2 * KVS_KEY_MAX + 1], space_text[2 * SPACE_TOLD + 1];
  struct kvi_damage *damage;

  pthread_mutex_lock(&damages->lock);
  damage = &damages->ring[damages->n++ % KVI_DAMAGES_MAX];
  *damage =
      (struct kvi_damage){.at_ns = kvi_now_ns(), .key_length = key_length, .tier = tier, .found = found};
  snprintf(damage->tenant, sizeof(damage->tenant), "%s", tenant);
  memcpy(damage->space, space, KVS_DIGEST_SIZE);
  memcpy(damage->key, key, key_length);
  pthread_mutex_unlock(&damages->lock);

  (void)kvi_hex_encode(key, key_length, key_text, sizeof(key_text));
  (void)kvi_hex_encode(space, SPACE_TOLD, space_text, sizeof(space_text));
  kvi_log_limited(KVI_LOG_ERROR,
                  "chunk %s of space %s: its bytes %s do not fit their checksum (found by a %s), dropped",
                  key_text, space_text, tier_place(tier), kvi_damage_found_name(found));
}

uint32_t kvi_damages_list(struct kvi_damages *damages, struct kvi_damage list[KVI_DAMAGES_MAX])
{
  uint32_t n;

  pthread_mutex_lock(&damages->lock);
  n = damages->n < KVI_DAMAGES_MAX ? (uint32_t)damages->n : KVI_DAMAGES_MAX;
  for (uint32_t i = 0; i < n; i++)
    list[i] = damages->ring[(damages->n - 1 - i) % KVI_DAMAGES_MAX];
  pthread_mutex_unlock(&damages->lock);
  return n;
}
