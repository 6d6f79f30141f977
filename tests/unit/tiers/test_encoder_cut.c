/*
 * A store whose chunks may lose something below: what a lookup promises is what a get brings, however often a chunk was moved and cut, and lengths and losses are right through
 * that, demotion, fetch and restart.
 */
#include "encoder_node.h"

#define PLANES   3u
#define LOSS_MAX (1 + PLANES)

static const struct kvi_get_terms all_losses = {.codings = 1u << KVI_CODING_KVC1, .loss_max = KVI_LOSS_MAX};

/* ---- what chunks decode to ---- */

static uint8_t *coarser[KINDS][PLANES + 1];

static void coarser_make(uint32_t kind)
{
  struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = PLANES};
  kvs_space_desc desc = tensors_space();
  struct object_bytes object;
  struct kvi_codec_shape shape;
  uint32_t quality;

  assert_int_equal(kvi_coded_shape(&desc, RAW, 0, true, &shape), KVS_OK);
  object = encode_object(&shape, &options, content_bytes(kind), 0);
  for (uint32_t planes = 0; planes <= PLANES; planes++) {
    coarser[kind][planes] = malloc(RAW);
    assert_non_null(coarser[kind][planes]);
    assert_int_equal(
        kvi_codec_decode(object.bytes, object.length, planes, coarser[kind][planes], RAW, &quality), KVS_OK);
    assert_int_equal(quality, planes);
  }
  free(object.bytes);
}

static int contents_make(void **state)
{
  (void)state;
  for (uint32_t kind = 0; kind < KINDS; kind++)
    if (content_of(kind) == TENSORS)
      coarser_make(kind);
  return 0;
}

static int contents_free(void **state)
{
  (void)state;
  for (uint32_t kind = 0; kind < KINDS; kind++)
    for (uint32_t planes = 0; planes <= PLANES; planes++)
      free(coarser[kind][planes]);
  return 0;
}

/* It has lost as much as it says, no less and no more. */
static void check_source(const struct kvi_source *source, uint64_t number)
{
  uint32_t loss = kvi_quality_loss(source->table.quality), kind = (uint32_t)(number % KINDS);
  uint8_t *bytes = malloc(source->table.length), *at = bytes;

  if (kvi_quality_coding(source->table.quality) == KVI_CODING_NONE) {
    assert_int_equal(loss, 0);
    source_check(source, number, false);
    free(bytes);
    return;
  }
  assert_int_equal(content_of(number), TENSORS);
  assert_in_range(loss, 1, LOSS_MAX);
  for (uint32_t i = 0; i < source->n_iov; at += source->iov[i++].length)
    memcpy(at, source->iov[i].base, source->iov[i].length);
  assert_true(decodes_to(bytes, source->table.length, coarser[kind][LOSS_MAX - loss], RAW, NULL));
  free(bytes);
}

/* ---- stores ---- */

static void node_open(struct node *node, struct kvi_medium *medium)
{
  struct kvi_encoder_config encoder = {
      .rules = {.tensors = true, .lossy = KVI_CODEC_LADDER, .planes = PLANES}, .threads = 2};
  struct kvi_store_config config = config_of();

  assert_int_equal(kvi_encoder_create(medium, &encoder, &config.medium), KVS_OK);
  node_start(node, &config);
  node->to.quality = kvi_quality(0, LOSS_MAX, KVI_CODING_NONE);
}

static void node_open_over(struct node *node, struct fixture *f)
{
  struct kvi_medium *medium;

  assert_int_equal(kvi_ssd_create(&f->config, &medium), KVS_OK);
  node_open(node, medium);
}

/* lease_p NULL: none is asked for. */
static bool find(struct node *node, uint64_t number, uint32_t loss_max, uint64_t *lease_p)
{
  struct kvi_store_lookup_result result = {0};
  const uint8_t *space = node->space;
  uint8_t key[KEY_BYTES], present[1] = {0};
  struct kvi_store_lookup lookup = {.tenant = TENANT,
                                    .owner = 1,
                                    .spaces = &space,
                                    .n_spaces = 1,
                                    .keys = key,
                                    .key_length = KEY_BYTES,
                                    .n_keys = 1,
                                    .loss_max = loss_max,
                                    .lease_ms = lease_p ? 600000 : 0,
                                    .unchained = true};

  testing_key(number, key, KEY_BYTES);
  result.present = present;
  assert_int_equal(kvi_store_lookup(node->store, &lookup, &result), KVS_OK);
  if (lease_p)
    *lease_p = result.lease;
  return present[0] & 1;
}

static bool is_found(struct node *node, uint64_t number, uint32_t loss_max)
{
  return find(node, number, loss_max, NULL);
}

/* The least loss that a lookup finds it with; -1: none. */
static int loss_found(struct node *node, uint64_t number)
{
  for (uint32_t loss = 0; loss <= LOSS_MAX; loss++)
    if (is_found(node, number, loss))
      return (int)loss;
  return -1;
}

/* The loss of what comes; -1 - cause: a miss. Busy ones are tried again. */
static int get(struct node *node, uint64_t number, uint32_t loss_max)
{
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);
  struct kvi_get_terms terms = all_losses;
  uint8_t key[KEY_BYTES];
  struct getting getting;
  struct kvi_source source;
  kvs_status status;
  uint32_t cause;
  int loss;

  terms.loss_max = loss_max;
  testing_key(number, key, KEY_BYTES);
  do {
    getting_init(&getting, &terms);
    status =
        kvi_store_get_open(node->store, TENANT, node->space, key, KEY_BYTES, &getting.wait, &source, &cause);
    status = getting_end(&getting, status, &source, &cause);
  } while (status == KVS_ERR_BUSY && !kvi_deadline_expired(patience));
  if (status == KVS_MISS)
    return -1 - (int)cause;
  assert_int_equal(status, KVS_OK);
  check_source(&source, number);
  loss = (int)kvi_quality_loss(source.table.quality);
  kvi_store_get_close(node->store, &source);
  return loss;
}

/* ---- in plain memory, where a move comes when it is told ---- */

#define MANY 60u /* more than memory has room for, and once more for what was used meanwhile */

/* Others, numbered from `from` on, take number 0's place in memory. */
static void push_out(struct node *node, uint64_t from)
{
  for (uint64_t i = from; i < from + MANY; i++)
    node_put(node, i);
}

/* Number 0 lies on the medium alone, at the first place, with all planes. */
static struct memory_medium *below_open(struct node *node)
{
  struct memory_medium *memory = memory_medium_create(false);

  memory->cuts = true;
  node_open(node, &memory->medium);
  node_put(node, 0);
  assert_int_equal(loss_found(node, 0), 0); /* memory has what was put */
  push_out(node, 100);
  assert_int_equal(loss_found(node, 0), 1);
  return memory;
}

/* Its place is known, and it has another one when its turn comes, and is shorter. */
static void cut_before_it_is_read(void **state)
{
  uint8_t key[KEY_BYTES];
  struct memory_medium *memory;
  struct kvi_source source;
  struct getting getting;
  struct node node;
  uint32_t cause;
  kvs_status status;

  (void)state;
  for (uint32_t loss_max = 1; loss_max <= 2; loss_max++) {
    struct kvi_get_terms terms = {.codings = 1u << KVI_CODING_KVC1, .loss_max = loss_max};

    memory = below_open(&node);
    memory_hold(memory, true);
    memory_move(memory, 0);
    testing_key(0, key, KEY_BYTES);
    getting_init(&getting, &terms);
    status =
        kvi_store_get_open(node.store, TENANT, node.space, key, KEY_BYTES, &getting.wait, &source, &cause);
    assert_int_equal(status, KVS_PENDING);
    memory_hold(memory, false);
    status = getting_end(&getting, status, &source, &cause);
    if (loss_max == 1) { /* what was promised is not there any more, and not given as if it were */
      assert_int_equal(status, KVS_MISS);
      assert_int_equal(cause, KVI_MISS_QUALITY);
    } else {
      assert_int_equal(status, KVS_OK);
      assert_int_equal(kvi_quality_loss(source.table.quality), 2);
      check_source(&source, 0);
      kvi_store_get_close(node.store, &source);
    }
    memory_settle(memory);
    assert_int_equal(loss_found(&node, 0), 2);
    assert_int_equal(get(&node, 0, 2), 2);
    assert_int_equal(stats_of_store(&node).corrupt, 0);
    store_check(node.store, node.space);
    kvi_store_close(node.store);
  }
}

/* Memory has what was read before; what is below has lost more. */
static void cut_while_memory_has_it(void **state)
{
  struct memory_medium *memory;
  struct node node;

  (void)state;
  memory = below_open(&node);
  assert_int_equal(get(&node, 0, 1), 1);
  memory_move(memory, 0);
  memory_settle(memory);
  assert_int_equal(loss_found(&node, 0), 1);
  assert_int_equal(get(&node, 0, 1), 1);
  store_check(node.store, node.space);
  push_out(&node, 200);
  assert_int_equal(loss_found(&node, 0), 2);
  store_check(node.store, node.space);
  assert_int_equal(get(&node, 0, 1), -1 - KVI_MISS_QUALITY);
  assert_int_equal(get(&node, 0, 2), 2);
  store_check(node.store, node.space);
  kvi_store_close(node.store);
}

/* A better copy of one that was cut: it is as good as new. */
static void cut_and_put_again(void **state)
{
  struct memory_medium *memory;
  uint32_t puts, items;
  struct node node;

  (void)state;
  memory = below_open(&node);
  memory_move(memory, 0);
  memory_settle(memory);
  assert_int_equal(loss_found(&node, 0), 2);
  puts = memory_puts(memory);
  items = memory_items(memory);
  assert_int_equal(store_put(&node.to, 0), KVS_OK);
  assert_int_equal(loss_found(&node, 0), 0);
  assert_int_equal(get(&node, 0, 0), 0);
  AWAIT(memory_puts(memory) == puts + 1);
  memory_settle(memory);
  assert_int_equal(memory_items(memory), items); /* the one that was cut is gone */
  store_check(node.store, node.space);
  push_out(&node, 200);
  assert_int_equal(loss_found(&node, 0), 1);
  assert_int_equal(get(&node, 0, 1), 1);
  store_check(node.store, node.space);
  kvi_store_close(node.store);
}

/* Its only copy lies on the medium, and a lease holds it: it is moved whole. When nobody holds it any more it loses a plane. */
static void leases_hold_what_is_below(void **state)
{
  struct memory_medium *memory;
  struct node node;
  uint64_t lease;

  (void)state;
  memory = below_open(&node);
  assert_true(find(&node, 0, 1, &lease));
  assert_true(lease != 0);
  memory_move(memory, 0);
  memory_settle(memory);
  assert_int_equal(loss_found(&node, 0), 1);
  assert_int_equal(kvi_store_release(node.store, 1, lease), KVS_OK);
  memory_follow(memory, 1); /* wherever it is */
  assert_int_equal(get(&node, 0, 2), 2);
  assert_int_equal(loss_found(&node, 0), 2);
  assert_int_equal(get(&node, 0, 2), 2);
  store_check(node.store, node.space);
  kvi_store_close(node.store);
}

/* What is leased stays as good as it was found; what is below has lost something. */
static void leases_hold_what_they_found(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct node node;
  uint64_t lease;

  (void)state;
  node_open(&node, &memory->medium);
  node_put(&node, 0);
  assert_true(find(&node, 0, 0, &lease));
  assert_true(lease != 0);
  push_out(&node, 100);
  assert_int_equal(get(&node, 0, 0), 0);
  assert_int_equal(loss_found(&node, 0), 0);
  push_out(&node, 200);
  assert_int_equal(loss_found(&node, 0), 0);
  assert_int_equal(kvi_store_release(node.store, 1, lease), KVS_OK);
  push_out(&node, 300);
  assert_int_equal(loss_found(&node, 0), 1);
  store_check(node.store, node.space);
  kvi_store_close(node.store);
}

/* ---- on files that are freed ---- */

/* As many rounds as it takes until files were freed, and chunks cut. */
static void turn_over(struct node *node)
{
  for (uint64_t i = 0; i < 600 || stats_of_store(node).medium.cut_chunks == 0; i++) {
    kvs_status status = store_put(&node->to, i % 300);

    assert_true(i < 20000);
    assert_true(status == KVS_OK || status == KVS_EXISTS || status == KVS_ERR_FULL || status == KVS_ERR_BUSY);
    for (uint64_t k = 0; i % 8 == 0 && k < 10; k++) /* these are used all the time, and stay */
      (void)get(node, k, KVI_LOSS_MAX);
    if (i % 16 == 0)
      quiet(node);
  }
  quiet(node);
}

static void promises_are_kept(struct node *node)
{
  uint32_t there = 0, lossy = 0;

  for (uint64_t i = 0; i < 300; i++) {
    int told = loss_found(node, i), came;

    if (told < 0)
      continue;
    came = get(node, i, (uint32_t)told);
    if (came == -1 - KVI_MISS_QUALITY && loss_found(node, i) > told) /* it was cut just now */
      came = get(node, i, KVI_LOSS_MAX);
    assert_true(came >= 0 ||
                came == -1 - KVI_MISS_EVICTED); /* one that is about to be cut may come better than told */
    there++;
    lossy += told > 1;
  }
  assert_true(there > 10);
  assert_true(lossy > 0);
  store_check(node->store, node->space);
  assert_int_equal(stats_of_store(node).corrupt, 0);
}

static void files_are_freed(void **state)
{
  struct node node;

  node_open_over(&node, *state);
  turn_over(&node);
  promises_are_kept(&node);
  kvi_store_close(node.store);
  for (int start = 0; start < 2; start++) {
    node_open_over(&node, *state);
    promises_are_kept(&node);
    kvi_store_close(node.store);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cut_before_it_is_read),
      cmocka_unit_test(cut_while_memory_has_it),
      cmocka_unit_test(cut_and_put_again),
      cmocka_unit_test(leases_hold_what_is_below),
      cmocka_unit_test(leases_hold_what_they_found),
      cmocka_unit_test_setup_teardown(files_are_freed, setup, teardown),
  };

  return cmocka_run_group_tests(tests, contents_make, contents_free);
}
