/*
 * The store over a medium whose operations end when the test says so: where hits are counted, what a lookup predicts, what evictions are for, and
 * that a damaged chunk is named. No threads, no disk.
 */
#include "testing.h"

#include "base/list.h"
#include "proto/chunk.h"
#include "tiers/medium.h"

#define CHUNK  100000u
#define CHUNKS 4u
#define RATE   UINT64_C(1000000) /* bytes a second that the medium says it reads at */

struct record {
  uint8_t *bytes; /* table and payload */
  size_t size, payload_at;
};

struct held_medium {
  struct kvi_medium medium;
  struct kvi_medium_owner owner;
  kvi_list puts, gets;
  struct record records[2 * CHUNKS]; /* by handle - 1 */
  uint32_t n_records;
  uint32_t refuses; /* so many puts that come next end with KVS_ERR_FULL */
  struct kvi_medium_stats stats;
  const struct kvi_medium_found *found; /* what it tells at a start, in this order */
  uint32_t n_found;
};

static struct held_medium *held_of(struct kvi_medium *medium)
{
  return (struct held_medium *)medium;
}

static void held_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  (void)medium;
  *attr_p = (struct kvi_medium_attr){
      .name = "held", .kind = KVI_TIER_SSD, .handles = true, .chunk_bytes_max = CHUNK};
}

static void held_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  *stats_p = held_of(medium)->stats;
}

static kvs_status held_recover(struct kvi_medium *medium, const struct kvi_medium_owner *owner,
                               kvi_medium_found_fn *found)
{
  struct held_medium *held = held_of(medium);

  held->owner = *owner;
  for (uint32_t i = 0; i < held->n_found; i++)
    (void)found(owner->ctx, &held->found[i]);
  return KVS_OK;
}

static kvs_status held_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  memset(put->medium_link, 0, sizeof(put->medium_link));
  kvi_list_push_back(&held_of(medium)->puts, (kvi_list_node *)put->medium_link);
  return KVS_OK;
}

static kvs_status held_get(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  memset(get->medium_link, 0, sizeof(get->medium_link));
  kvi_list_push_back(&held_of(medium)->gets, (kvi_list_node *)get->medium_link);
  return KVS_OK;
}

static void held_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                      kvi_medium_handle handle, bool for_good)
{
  (void)medium, (void)identity, (void)handle, (void)for_good;
}

static void held_destroy(struct kvi_medium *medium)
{
  struct held_medium *held = held_of(medium);

  for (uint32_t i = 0; i < held->n_records; i++)
    free(held->records[i].bytes);
}

static const struct kvi_medium_ops held_ops = {.attr = held_attr,
                                               .stats = held_stats,
                                               .recover = held_recover,
                                               .put = held_put,
                                               .get = held_get,
                                               .drop = held_drop,
                                               .destroy = held_destroy};

/* A payload that a device writes to where it is wanted, or that is copied there. */
static kvs_status held_read(struct kvi_medium_get *get, const struct record *record)
{
  const uint8_t *from = record->bytes + record->payload_at;
  const struct kvi_iov *iov;
  uint32_t n_iov;

  if (!get->room)
    return kvi_medium_deliver(get, record->bytes, record->size, record->payload_at);
  assert_int_equal(get->length, record->size - record->payload_at);
  assert_int_equal(get->room(get, &iov, &n_iov), KVS_OK);
  for (uint32_t i = 0; i < n_iov; from += iov[i++].length)
    memcpy(iov[i].base, from, iov[i].length);
  return kvi_medium_landed(get, record->bytes, record->payload_at);
}

/* Everything that waits ends, well, but for the puts that are refused. */
static void held_go_on(struct held_medium *held)
{
  kvi_list_node *node;

  while ((node = kvi_list_first(&held->puts)) != NULL) {
    struct kvi_medium_put *put = kvi_list_entry(node, struct kvi_medium_put, medium_link);
    struct record *record = &held->records[held->n_records++];
    struct kvi_segment segments[64]; /* as many as testing_put makes at most */
    size_t at;

    kvi_list_remove(&held->puts, node);
    if (held->refuses > 0) {
      held->refuses--;
      held->n_records--;
      put->done(put, KVS_ERR_FULL);
      continue;
    }
    record->payload_at = at = kvi_chunk_table_size(put->table.n_segments);
    record->size = at + put->length;
    record->bytes = malloc(record->size);
    for (uint32_t i = 0; i < put->table.n_segments; i++)
      segments[i] = kvi_chunk_table_segment(&put->table, i);
    kvi_chunk_table_write(record->bytes, segments, put->table.n_segments, put->table.quality);
    for (uint32_t i = 0; i < put->n_iov; at += put->iov[i++].length)
      memcpy(record->bytes + at, put->iov[i].base, put->iov[i].length);
    put->handle = held->n_records;
    put->done(put, KVS_OK);
  }
  while ((node = kvi_list_first(&held->gets)) != NULL) {
    struct kvi_medium_get *get = kvi_list_entry(node, struct kvi_medium_get, medium_link);
    const struct record *record = &held->records[get->handle - 1];

    kvi_list_remove(&held->gets, node);
    get->done(get, held_read(get, record));
  }
}

struct fixture {
  struct held_medium held;
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t keys[CHUNKS * KEY_BYTES];
};

static const uint8_t *key_of(const struct fixture *f, uint32_t chunk)
{
  return f->keys + (size_t)chunk * KEY_BYTES;
}

/* A chain of CHUNKS that is on the medium, of which memory holds all or the last only. */
static void open_with_chain(struct fixture *f, uint64_t memory)
{
  struct kvi_store_config config = {
      .dram_bytes = memory, .dram_page_bytes = 65536, .chunk_bytes_max = CHUNK, .medium = &f->held.medium};
  kvs_space_desc desc = testing_space("m", KEY_BYTES);

  memset(f, 0, sizeof(*f));
  f->held.medium.ops = &held_ops;
  kvi_list_init(&f->held.puts);
  kvi_list_init(&f->held.gets);
  f->held.stats.read_bytes_per_s = RATE;
  f->held.stats.read_latency_us = 50;
  assert_int_equal(kvi_store_open(&config, &f->store), KVS_OK);
  testing_space_open(f->store, TENANT, &desc, f->space);
  for (uint32_t i = 0; i < CHUNKS; i++) {
    testing_key(i, f->keys + (size_t)i * KEY_BYTES, KEY_BYTES);
    assert_int_equal(testing_put(f->store, TENANT, f->space, key_of(f, i), KEY_BYTES,
                                 i > 0 ? key_of(f, i - 1) : NULL, i, CHUNK, i),
                     KVS_OK);
    held_go_on(&f->held);
  }
}

static struct kvi_store_lookup_result look(struct fixture *f, uint8_t tiers[CHUNKS])
{
  const uint8_t *space = f->space;
  struct kvi_store_lookup lookup = {.tenant = TENANT,
                                    .spaces = &space,
                                    .n_spaces = 1,
                                    .keys = f->keys,
                                    .key_length = KEY_BYTES,
                                    .n_keys = CHUNKS};
  struct kvi_store_lookup_result result = {.tiers = tiers};

  assert_int_equal(kvi_store_lookup(f->store, &lookup, &result), KVS_OK);
  return result;
}

struct waiter {
  struct kvi_get_wait wait;
  kvs_status status;
  uint32_t cause;
  bool called;
};

static void waiter_done(struct kvi_get_wait *wait, kvs_status status, uint32_t cause)
{
  struct waiter *waiter = (struct waiter *)wait;

  waiter->status = status;
  waiter->cause = cause;
  waiter->called = true;
}

/* A get to its end; where it had to wait, the medium goes on. */
static kvs_status get(struct fixture *f, uint32_t chunk, uint32_t *cause_p)
{
  struct waiter waiter = {.wait = {.done = waiter_done}};
  struct kvi_source source;
  kvs_status status = kvi_store_get_open(f->store, TENANT, f->space, key_of(f, chunk), KEY_BYTES,
                                         &waiter.wait, &source, cause_p);

  if (status == KVS_PENDING) {
    held_go_on(&f->held);
    assert_true(waiter.called);
    status = waiter.status;
    *cause_p = waiter.cause;
    source = waiter.wait.source;
  }
  if (status != KVS_OK)
    return status;
  assert_true(testing_matches(&source, chunk));
  kvi_store_get_close(f->store, &source);
  return KVS_OK;
}

static void assert_hits(struct fixture *f, uint64_t memory, uint64_t medium)
{
  struct kvi_store_stats stats;

  kvi_store_stats(f->store, &stats);
  assert_int_equal(stats.tier_hits[KVI_TIER_DRAM], memory);
  assert_int_equal(stats.tier_hits[KVI_TIER_SSD], medium);
  assert_int_equal(stats.get_hits, memory + medium);
}

static void hits_are_of_the_tier_it_came_from(void **state)
{
  struct fixture f;
  uint32_t cause;

  (void)state;
  open_with_chain(&f, 262144); /* two chunks */
  assert_int_equal(get(&f, 0, &cause), KVS_OK);
  assert_hits(&f, 0, 1);
  assert_int_equal(get(&f, 0, &cause), KVS_OK); /* it is in memory now */
  assert_hits(&f, 1, 1);
  kvi_store_get_ahead(f.store, TENANT, f.space, key_of(&f, 1), KEY_BYTES);
  held_go_on(&f.held);
  assert_hits(&f, 1, 1);
  assert_int_equal(get(&f, 1, &cause), KVS_OK); /* was read ahead for this get */
  assert_hits(&f, 1, 2);
  assert_int_equal(get(&f, 1, &cause), KVS_OK);
  assert_hits(&f, 2, 2);
  kvi_store_close(f.store);
}

static void a_lookup_predicts_from_rate_and_queue(void **state)
{
  uint8_t tiers[CHUNKS];
  uint64_t idle_us;
  struct fixture f;

  (void)state;
  open_with_chain(&f, 262144);
  idle_us = look(&f, tiers).fetch_us;
  assert_int_equal(tiers[0], KVI_TIER_SSD);
  assert_int_equal(tiers[CHUNKS - 1], KVI_TIER_DRAM);
  assert_in_range(idle_us, 150000, 400000); /* two or three chunks of 100 ms, and what memory takes */
  f.held.stats.queued_get_bytes = RATE;     /* a second's worth */
  assert_in_range(look(&f, tiers).fetch_us, idle_us + 990000, idle_us + 1010000);
  f.held.stats.read_bytes_per_s *= 10; /* the same, ten times as fast */
  assert_in_range(look(&f, tiers).fetch_us, (idle_us + 1000000) / 10 - 5000,
                  (idle_us + 1000000) / 10 + 50000);
  kvi_store_close(f.store);
}

/* A chunk takes 100 ms from the medium, and hardly any time from memory. */
static void a_lookup_says_whether_loading_pays(void **state)
{
  const struct {
    uint32_t us; /* to compute a chunk of 256 tokens */
    uint64_t queued_us;
    bool loads;
  } cases[] = {{1000, 0, false},         {40000, 0, false},        {200000, 0, true},
               {200000, 2000000, false}, {1000000, 2000000, true}, {0, 0, true}};
  uint8_t tiers[CHUNKS];

  (void)state;
  for (uint32_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
    struct kvi_compute_measured measured = {.tokens = 256, .us = cases[c].us};
    struct kvi_store_lookup_result result;
    struct fixture f;

    open_with_chain(&f, 262144);
    for (uint32_t i = 0; i < KVI_COMPUTE_LEAST && measured.us > 0; i++)
      assert_int_equal(kvi_store_computed(f.store, TENANT, f.space, &measured), KVI_HINT_ACCEPTED);
    f.held.stats.queued_get_bytes = cases[c].queued_us * RATE / 1000000;
    result = look(&f, tiers);
    assert_int_equal(result.prefix, CHUNKS);
    if (measured.us == 0) {
      assert_int_equal(kvi_verdict_compute_us(&result.verdict), 0);
    } else {
      assert_int_equal(result.verdict.n, CHUNKS);
      assert_int_equal(result.verdict.worth, cases[c].loads ? CHUNKS : 0);
      assert_in_range(kvi_verdict_compute_us(&result.verdict), CHUNKS * cases[c].us,
                      CHUNKS * cases[c].us * 103 / 100); /* the later ones take a little longer */
      assert_in_range(result.verdict.load_us, result.fetch_us, result.fetch_us + 1);
      assert_in_range(kvi_verdict_worth_us(&result.verdict),
                      cases[c].loads ? result.fetch_us : kvi_verdict_compute_us(&result.verdict),
                      cases[c].loads ? result.fetch_us + 1 : kvi_verdict_compute_us(&result.verdict));
    }
    kvi_store_close(f.store);
  }
}

static void evictions_say_their_rule(void **state)
{
  struct kvi_store_stats stats;
  uint64_t chunks, bytes;
  struct fixture f;

  (void)state;
  open_with_chain(&f, 1 << 20);
  assert_int_equal(f.held.owner.make_room(f.held.owner.ctx, CHUNK), CHUNK); /* the medium's room */
  kvi_store_stats(f.store, &stats);
  assert_int_equal(stats.evictions_by[1][KVI_EVICT_ROOM], 1);
  kvi_store_evict(f.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  assert_int_equal(chunks, CHUNKS - 1);
  kvi_store_stats(f.store, &stats);
  assert_int_equal(stats.evictions_by[1][KVI_EVICT_ASKED], CHUNKS - 1);
  assert_int_equal(stats.evictions, CHUNKS);
  assert_int_equal(stats.medium_evicted_bytes, CHUNKS * CHUNK);
  kvi_store_close(f.store);
}

/* A chunk that the medium did not take is written when it takes others: in memory for ever it would not be missed, but be in the way. */
static void what_was_not_taken_is_written_again(void **state)
{
  uint8_t keys[3 * KEY_BYTES];
  struct kvi_store_stats stats;
  struct fixture f;

  (void)state;
  open_with_chain(&f, 1 << 20);
  for (uint32_t i = 0; i < 3; i++) {
    testing_key(100 + i, keys + i * KEY_BYTES, KEY_BYTES);
    f.held.refuses = i < 2;
    assert_int_equal(testing_put(f.store, TENANT, f.space, keys + i * KEY_BYTES, KEY_BYTES,
                                 i > 0 ? keys + (i - 1) * KEY_BYTES : NULL, i, CHUNK, i),
                     KVS_OK);
    held_go_on(&f.held);
    kvi_store_stats(f.store, &stats);
    assert_int_equal(stats.medium_chunks, i < 2 ? CHUNKS : CHUNKS + 3);
  }
  kvi_store_close(f.store);
}

/* A device that is late reads a chunk's memory for longer than the chunk is there, and than the write is waited for. */
static void memory_is_kept_for_a_late_device(void **state)
{
  struct kvi_medium_hold hold;
  struct kvi_store_stats stats;
  struct kvi_medium_put *put;
  uint8_t key[KEY_BYTES];
  struct fixture f;

  (void)state;
  open_with_chain(&f, 1 << 20);
  kvi_store_stats(f.store, &stats);
  uint64_t objects = stats.dram.objects;
  testing_key(100, key, KEY_BYTES);
  assert_int_equal(testing_put(f.store, TENANT, f.space, key, KEY_BYTES, NULL, 0, CHUNK, 1), KVS_OK);
  put = kvi_list_entry(kvi_list_first(&f.held.puts), struct kvi_medium_put, medium_link);
  kvi_list_remove(&f.held.puts, kvi_list_first(&f.held.puts));
  assert_int_equal(kvi_store_delete(f.store, TENANT, f.space, key, KEY_BYTES), KVS_OK);
  assert_non_null(put->keep);
  put->keep(put, &hold);
  put->done(put, KVS_ERR_DEADLINE);
  kvi_store_stats(f.store, &stats);
  assert_int_equal(stats.dram.objects, objects + 1);
  hold.release(&hold);
  kvi_store_stats(f.store, &stats);
  assert_int_equal(stats.dram.objects, objects);
  kvi_store_close(f.store);
}

static void damage_below_is_named(void **state)
{
  struct kvi_damage damaged[KVI_DAMAGES_MAX];
  struct kvi_store_stats stats;
  struct fixture f;
  uint32_t cause;

  (void)state;
  open_with_chain(&f, 262144);
  f.held.records[0].bytes[f.held.records[0].payload_at + 7] ^= 1;
  assert_int_equal(get(&f, 0, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_CORRUPT);
  assert_int_equal(kvi_damages_list(kvi_store_damages(f.store), damaged), 1);
  assert_memory_equal(damaged[0].key, key_of(&f, 0), KEY_BYTES);
  assert_int_equal(damaged[0].tier, KVI_TIER_SSD);
  assert_int_equal(damaged[0].found, KVI_DAMAGE_BY_GET);
  kvi_store_stats(f.store, &stats);
  assert_int_equal(stats.corrupt, 1);
  assert_hits(&f, 0, 0);

  /* The scrubber finds one; a second word about the same place is of nobody's chunk. */
  for (int i = 0; i < 2; i++)
    f.held.owner.corrupt(
        f.held.owner.ctx,
        &(struct kvi_medium_identity){
            .tenant = TENANT, .space = f.space, .key = key_of(&f, 1), .key_length = KEY_BYTES},
        2);
  assert_int_equal(kvi_damages_list(kvi_store_damages(f.store), damaged), 2);
  assert_memory_equal(damaged[0].key, key_of(&f, 1), KEY_BYTES);
  assert_int_equal(damaged[0].found, KVI_DAMAGE_BY_SCRUB);
  kvi_store_stats(f.store, &stats);
  assert_int_equal(stats.corrupt, 2);
  kvi_store_close(f.store);
}

static void as_many_are_read_ahead_as_fit(void **state)
{
  uint8_t unknown[KVS_DIGEST_SIZE] = {1};
  struct fixture f;

  (void)state;
  open_with_chain(&f, 1 << 20); /* 524,288 bytes are half of it: five chunks of 100,000 */
  assert_true(kvi_store_ahead_fits(f.store, TENANT, f.space, 1));
  assert_true(kvi_store_ahead_fits(f.store, TENANT, f.space, 4));
  assert_false(kvi_store_ahead_fits(f.store, TENANT, f.space, 5));
  assert_true(
      kvi_store_ahead_fits(f.store, TENANT, unknown, 4)); /* taken for the largest, which is as large */
  assert_false(kvi_store_ahead_fits(f.store, TENANT, unknown, 5));
  kvi_store_close(f.store);
}

/* A record names what it continues, so that a restart knows the chain, though that is not in memory any longer. */
static void a_write_names_its_parent(void **state)
{
  uint8_t key[KEY_BYTES];
  const struct kvi_medium_put *put;
  uint8_t tiers[CHUNKS];
  struct fixture f;

  (void)state;
  open_with_chain(&f, 262144); /* two chunks */
  (void)look(&f, tiers);
  assert_int_equal(tiers[0], KVI_TIER_SSD);
  testing_key(100, key, KEY_BYTES);
  assert_int_equal(testing_put(f.store, TENANT, f.space, key, KEY_BYTES, key_of(&f, 0), 1, CHUNK, 100),
                   KVS_OK);
  put = kvi_list_entry(kvi_list_first(&f.held.puts), struct kvi_medium_put, medium_link);
  assert_memory_equal(put->identity.key, key, KEY_BYTES);
  assert_non_null(put->identity.parent);
  assert_memory_equal(put->identity.parent, key_of(&f, 0), KEY_BYTES);
  held_go_on(&f.held);
  kvi_store_close(f.store);
}

/* Of more than the index has room for the older go, while it is told; what comes in their entries has parents of its own. */
static void a_start_with_more_than_fits_links_nothing_to_another(void **state)
{
  /* told before its parent; another; one whose parent never comes, in the entry of the first; the parent of the first */
  enum { CHILD, OTHER, STRANGER, PARENT, MISSING, N };
  uint8_t space[KVS_DIGEST_SIZE] = {1}, keys[N][KEY_BYTES];
  struct kvi_medium_found found[4];
  struct held_medium held = {.medium.ops = &held_ops, .found = found, .n_found = 4};
  struct kvi_store_config config = {.dram_bytes = 262144,
                                    .dram_page_bytes = 65536,
                                    .chunk_bytes_max = CHUNK,
                                    .max_chunks = 2,
                                    .medium = &held.medium};
  struct kvi_chunk_info infos[4];
  struct kvi_store *store;
  uint64_t cursor = 0;

  (void)state;
  kvi_list_init(&held.puts);
  kvi_list_init(&held.gets);
  for (uint32_t i = 0; i < N; i++)
    testing_key(i, keys[i], KEY_BYTES);
  for (uint32_t i = 0; i < 4; i++)
    found[i] = (struct kvi_medium_found){
        .identity = {.tenant = TENANT, .space = space, .key = keys[i], .key_length = KEY_BYTES},
        .handle = i + 1,
        .length = CHUNK};
  found[CHILD].identity.place = found[STRANGER].identity.place = 1;
  found[CHILD].identity.parent = keys[PARENT];
  found[STRANGER].identity.parent = keys[MISSING];
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  assert_int_equal(kvi_store_chunks(store, TENANT, space, &cursor, infos, 4), 2);
  for (uint32_t i = 0; i < 2; i++)
    assert_int_equal(infos[i].children, 0);
  kvi_store_close(store);
}

/* Written as it was put at a busy hour, and encoded another time: the later one counts, with its length; but one that has lost more never does. */
static void a_start_with_two_forms_takes_one(void **state)
{
  static const struct {
    uint32_t lengths[2], losses[2], taken;
  } cases[] = {{{CHUNK, CHUNK / 2}, {0, 0}, 1},
               {{CHUNK / 2, CHUNK}, {0, 0}, 1},
               {{CHUNK / 2, CHUNK / 4}, {0, 2}, 0},
               {{CHUNK / 4, CHUNK / 2}, {2, 0}, 1},
               {{CHUNK / 4, CHUNK / 2}, {2, 2}, 1}};
  uint8_t space[KVS_DIGEST_SIZE] = {1}, key[KEY_BYTES];
  struct kvi_medium_found found[2];
  struct held_medium held = {.medium.ops = &held_ops, .found = found, .n_found = 2};
  struct kvi_store_config config = {
      .dram_bytes = 262144, .dram_page_bytes = 65536, .chunk_bytes_max = CHUNK, .medium = &held.medium};
  struct kvi_medium_identity identity = {
      .tenant = TENANT, .space = space, .key = key, .key_length = KEY_BYTES};
  struct kvi_space_info info;
  struct kvi_store *store;

  (void)state;
  testing_key(1, key, KEY_BYTES);
  for (uint32_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
    uint32_t taken = cases[c].taken;
    uint64_t cursor = 0;

    kvi_list_init(&held.puts);
    kvi_list_init(&held.gets);
    for (uint32_t i = 0; i < 2; i++)
      found[i] = (struct kvi_medium_found){
          .identity = identity, .handle = i + 1, .length = cases[c].lengths[i], .loss = cases[c].losses[i]};
    assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
    assert_int_equal(kvi_store_spaces(store, TENANT, &cursor, &info, 1), 1);
    assert_int_equal(info.chunks, 1);
    assert_int_equal(info.bytes, cases[c].lengths[taken]);
    assert_true(held.owner.holds(held.owner.ctx, &identity, taken + 1));
    assert_false(held.owner.holds(held.owner.ctx, &identity, 2 - taken));
    kvi_store_close(store);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hits_are_of_the_tier_it_came_from),
      cmocka_unit_test(a_lookup_predicts_from_rate_and_queue),
      cmocka_unit_test(a_lookup_says_whether_loading_pays),
      cmocka_unit_test(evictions_say_their_rule),
      cmocka_unit_test(damage_below_is_named),
      cmocka_unit_test(as_many_are_read_ahead_as_fit),
      cmocka_unit_test(what_was_not_taken_is_written_again),
      cmocka_unit_test(memory_is_kept_for_a_late_device),
      cmocka_unit_test(a_write_names_its_parent),
      cmocka_unit_test(a_start_with_more_than_fits_links_nothing_to_another),
      cmocka_unit_test(a_start_with_two_forms_takes_one),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
