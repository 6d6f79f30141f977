/*
 * tiers/policy/index_kept.c: what outlives the process: who waits, and what was learned of waits, as docs/formats/waiters.md has it. What comes back is looked at as anything from outside is.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tiers/policy/index_private.h"

#define DEPTH_MOST  (1u << 16)
#define WEIGHT_MOST 4.0f /* of a priority */
#define VALUE_MOST  1e12

/* Parts of what was learned, by their first byte. */
#define PART_GUARD 1u /* which order is live, and what it has cost; what first chunks are worth */
#define PART_GROUP 2u /* counts of waits */

#define GUARD_BYTES 32u
#define GROUP_HEAD  32u
#define GROUP_BYTES (GROUP_HEAD + 2 * 4 * KVI_WAIT_BUCKETS)
static_assert(GROUP_BYTES <= KVI_POLICY_LEARNED_MAX, "a part has room");

/* ---- who waits ---- */

bool kvi_index_keep(const struct kvi_policy *policy, uint32_t number, struct kvi_policy_kept *kept_p)
{
  const struct kvi_index *index = (const struct kvi_index *)policy;
  const struct kvi_branch *own;
  uint32_t chunk, before = 0;

  if (number >= kvi_branches_places(index->branches) || !kvi_branches_is_used(index->branches, number))
    return false;
  own = kvi_branch(index->branches, number);
  if (own->last == KVI_POLICY_NONE || own->n_chunks == 0)
    return false;
  *kept_p = (struct kvi_policy_kept){
      .program = own->program,
      .tool = own->answered ? kvi_classes_tool(index->classes, own->wait.class) : 0,
      .used_ns = own->used_ns,
      .seen_ns = own->seen_ns,
      .begins_ns = own->begins_ns,
      .n_chunks = own->n_chunks,
      .n_whole = own->n_whole,
      .tenant = own->tenant,
      .space = own->space,
      .source = own->wait.source,
      .kind = own->answered ? kvi_classes_kind(index->classes, own->wait.class) : KVI_WAIT_UNKNOWN,
      .announced_s = own->wait.announced_s,
      .ttl_s = own->ttl_s,
      .weight = own->weight,
      .n_weighed = own->n_weighed,
      .n_timed = own->n_timed,
      .chunk_tokens = own->chunk_tokens,
      .chunk_bytes = own->chunk_bytes,
      .cost = own->cost,
      .answered = own->answered};
  chunk = own->last;
  for (uint32_t i = 0; i < KVI_POLICY_KEPT_CHUNKS; i++) {
    for (; before < (1u << i) - 1 && chunk != KVI_POLICY_NONE; before++)
      chunk = kvi_forest_parent(policy, chunk);
    kept_p->at[i] = chunk;
  }
  return true;
}

/* Above 0 and no more than that. */
static bool is_within(float value, float most)
{
  return value > 0 && value <= most;
}

static bool is_sane(const struct kvi_policy_kept *kept, uint64_t now_ns)
{
  return kept->n_chunks > 0 && kept->n_whole >= kept->n_chunks && kept->used_ns <= now_ns &&
         kept->seen_ns <= now_ns && kept->begins_ns <= now_ns && is_within(kept->weight, WEIGHT_MOST) &&
         is_within(kept->chunk_tokens, 1e9f) && is_within(kept->chunk_bytes, 1e12f) &&
         is_within(kept->cost, 1e9f) && kept->ttl_s >= 0 && kept->ttl_s <= 1e6f && kept->announced_s >= 0 &&
         kept->announced_s <= 1e6f && (uint32_t)kept->kind < KVI_WAIT_KINDS;
}

/* As while it runs: of too many of one program in a space the one not used for longest goes. */
static void program_room_make(struct kvi_index *index, uint64_t program, uint32_t space)
{
  uint32_t n = 0, oldest = KVI_BRANCH_NONE, last;

  for (uint32_t branch = kvi_branches_of(index->branches, program); branch != KVI_BRANCH_NONE;
       branch = kvi_branches_next_of(index->branches, branch)) {
    if (kvi_branch(index->branches, branch)->space != space)
      continue;
    oldest = branch;
    n++;
  }
  if (n < KVI_INDEX_OF_PROGRAM)
    return;
  last = kvi_branch(index->branches, oldest)->last;
  kvi_index_memory_left(index, oldest, false);
  kvi_branches_remove(index->branches, oldest);
  kvi_index_left(index, last, false);
}

uint32_t kvi_index_room(const struct kvi_policy *policy)
{
  return kvi_branches_room(((const struct kvi_index *)policy)->branches);
}

bool kvi_index_restore(struct kvi_policy *policy, const struct kvi_policy_kept *kept, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t last = kept->at[0], depth, branch;
  struct kvi_branch *own;

  if (!is_sane(kept, now_ns) || last >= policy->capacity || !kvi_forest_is_resident(policy, last) ||
      kvi_branches_is_full(index->branches))
    return false;
  depth = kvi_forest_depth(policy, last, DEPTH_MOST); /* behind a hole it is shorter than it was */
  depth = depth < kept->n_chunks ? depth : kept->n_chunks;
  if (kept->program == 0 &&
      2 * (uint64_t)depth < kept->n_whole) /* it would not be known when it comes back */
    return false;
  program_room_make(index, kept->program, kept->space);
  branch = kvi_branches_add(index->branches, kept->program, last);
  kvi_forest_mark(policy, last, false);
  own = kvi_branch(index->branches, branch);
  own->used_ns = kept->used_ns;
  own->seen_ns = kept->seen_ns;
  own->begins_ns = kept->begins_ns;
  own->wait = kvi_index_request(kept->program);
  if (kept->answered)
    own->wait = (struct kvi_class_wait){.class = kvi_classes_of(index->classes, kept->kind, kept->tool),
                                        .source = kept->source,
                                        .announced_s = kept->announced_s};
  own->chunk_tokens = kept->chunk_tokens;
  own->chunk_bytes = kept->chunk_bytes;
  own->cost = kept->cost;
  own->weight = kept->weight;
  own->ttl_s = kept->ttl_s;
  own->until_s = 0;
  own->n_weighed = kept->n_weighed;
  own->n_timed = kept->n_timed;
  own->n_chunks = depth;
  own->n_whole = kept->n_whole;
  own->space = kept->space;
  own->tenant = kept->tenant < KVI_POLICY_TENANTS_MAX ? (uint16_t)kept->tenant : 0;
  own->answered = kept->answered;
  kvi_index_ahead_may(index, branch);
  return true;
}

/* ---- what was learned ---- */

static void counts_store(uint8_t *bytes, const double counts[KVI_WAIT_BUCKETS])
{
  for (uint32_t i = 0; i < KVI_WAIT_BUCKETS; i++)
    kvi_store_le_float(bytes + (size_t)4 * i, (float)counts[i]);
}

static void counts_load(const uint8_t *bytes, double counts[KVI_WAIT_BUCKETS])
{
  for (uint32_t i = 0; i < KVI_WAIT_BUCKETS; i++)
    counts[i] = (double)kvi_load_le_float(bytes + (size_t)4 * i);
}

static uint32_t guard_store(const struct kvi_index *index, uint8_t *bytes)
{
  memset(bytes, 0, GUARD_BYTES);
  bytes[0] = PART_GUARD;
  bytes[1] = (uint8_t)index->shadow.live;
  kvi_store_le32(bytes + 4, index->shadow.judged < UINT32_MAX ? (uint32_t)index->shadow.judged : UINT32_MAX);
  kvi_store_le_double(bytes + 8, index->shadow.lost);
  kvi_store_le_double(bytes + 16, index->shadow.lost_squares);
  kvi_store_le_double(bytes + 24, index->first_value);
  return GUARD_BYTES;
}

static bool guard_load(struct kvi_index *index, const uint8_t *bytes)
{
  double lost = kvi_load_le_double(bytes + 8), squares = kvi_load_le_double(bytes + 16),
         value = kvi_load_le_double(bytes + 24);

  if (bytes[1] > KVI_SHADOW_BY_PRICE || !(fabs(lost) <= VALUE_MOST) ||
      !(squares >= 0 && squares <= VALUE_MOST) || !(value >= 0 && value <= VALUE_MOST))
    return false;
  index->shadow.live = (enum kvi_shadow_order)bytes[1];
  index->shadow.judged = kvi_load_le32(bytes + 4);
  index->shadow.lost = lost;
  index->shadow.lost_squares = squares;
  index->first_value = value;
  return true;
}

static uint32_t group_store(const struct kvi_class_learned *learned, uint8_t *bytes)
{
  memset(bytes, 0, GROUP_HEAD);
  bytes[0] = PART_GROUP;
  bytes[1] = (uint8_t)learned->group;
  kvi_store_le16(bytes + 2, KVI_WAIT_BUCKETS);
  kvi_store_le32(bytes + 4, learned->number);
  kvi_store_le64(bytes + 8, learned->tool);
  kvi_store_le_double(bytes + 16, learned->skill);
  counts_store(bytes + GROUP_HEAD, learned->ended.back);
  counts_store(bytes + GROUP_HEAD + 4 * KVI_WAIT_BUCKETS, learned->ended.away);
  return GROUP_BYTES;
}

static bool group_load(struct kvi_index *index, const uint8_t *bytes)
{
  struct kvi_class_learned learned = {.group = (enum kvi_class_group)bytes[1],
                                      .number = kvi_load_le32(bytes + 4),
                                      .tool = kvi_load_le64(bytes + 8),
                                      .skill = kvi_load_le_double(bytes + 16)};

  if (bytes[1] > KVI_CLASS_SOURCE || kvi_load_le16(bytes + 2) != KVI_WAIT_BUCKETS)
    return false;
  counts_load(bytes + GROUP_HEAD, learned.ended.back);
  counts_load(bytes + GROUP_HEAD + 4 * KVI_WAIT_BUCKETS, learned.ended.away);
  return kvi_classes_learn(index->classes, &learned);
}

uint32_t kvi_index_learned(const struct kvi_policy *policy, uint32_t part,
                           uint8_t bytes[KVI_POLICY_LEARNED_MAX], bool *more_p)
{
  const struct kvi_index *index = (const struct kvi_index *)policy;
  struct kvi_class_learned learned;

  *more_p = part < KVI_CLASSES_GROUPS;
  if (part == 0)
    return guard_store(index, bytes);
  return kvi_classes_learned(index->classes, part - 1, &learned) ? group_store(&learned, bytes) : 0;
}

bool kvi_index_learn(struct kvi_policy *policy, const uint8_t *bytes, uint32_t length)
{
  struct kvi_index *index = kvi_index_of(policy);

  if (length == GUARD_BYTES && bytes[0] == PART_GUARD)
    return guard_load(index, bytes);
  return length == GROUP_BYTES && bytes[0] == PART_GROUP && group_load(index, bytes);
}

/* Of those that wait now too, as in index.c. */
void kvi_index_relearn(struct kvi_policy *policy, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t places = kvi_branches_places(index->branches);

  for (uint32_t branch = 0; branch < places; branch++) {
    const struct kvi_branch *own = kvi_branch(index->branches, branch);
    const struct kvi_class_wait request = kvi_index_request(own->program);

    if (!kvi_branches_is_used(index->branches, branch))
      continue;
    kvi_classes_lasting(index->classes, &own->wait, kvi_index_seconds(own->begins_ns, now_ns));
    if (own->answered)
      kvi_classes_lasting(index->classes, &request, kvi_index_seconds(own->used_ns, now_ns));
  }
  kvi_classes_rebuild(index->classes);
  for (uint32_t branch = 0; branch < places; branch++) /* whose return is known by what was learned only */
    if (kvi_branches_is_used(index->branches, branch))
      kvi_index_ahead_may(index, branch);
}
