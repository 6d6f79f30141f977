/* Nodes of another protocol: a client that waits for one does not open, and whoever asks is told both ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <kvasir/client.h>
#include <kvasir/connector.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/limits.h"
#include "tests/unit/grpc/fake_node.h"

#define PATIENCE_MS 60000u

/* A node that leaves it to the client to see that they have nothing in common, and one that says so itself. */
static const struct fake_node_options later = {.protocol_min = KVI_PROTOCOL_MAX + 6,
                                               .protocol_max = KVI_PROTOCOL_MAX + 8};
static const struct fake_node_options refusing = {.protocol_min = KVI_PROTOCOL_MAX + 6,
                                                  .protocol_max = KVI_PROTOCOL_MAX + 8,
                                                  .hello_status = KVS_ERR_VERSION};

static void assert_names_both(const char *text)
{
  char ours[64], theirs[64];
  snprintf(ours, sizeof ours, "this side speaks %u to %u", KVI_PROTOCOL_MIN, KVI_PROTOCOL_MAX);
  snprintf(theirs, sizeof theirs, "%u to %u", later.protocol_min, later.protocol_max);
  assert_non_null(strstr(text, ours));
  assert_non_null(strstr(text, theirs));
}

struct logged {
  char line[KVI_LOG_LINE_MAX + 1]; /* the first that is about versions */
  atomic_bool there;
};

static void take_line(void *ctx, kvi_log_level level, const char *line, size_t length)
{
  struct logged *logged = ctx;
  (void)level;
  if (!strstr(line, "no protocol version in common") || atomic_load(&logged->there))
    return;
  snprintf(logged->line, sizeof logged->line, "%.*s", (int)length, line);
  atomic_store(&logged->there, true);
}

/* Whoever waits for the first connection is told by the status; the ranges stand in the log, since there is no client to ask. */
static void refused_at_open(const struct fake_node_options *options)
{
  char endpoint[128];
  struct fake_node *node = fake_node_start(options, endpoint);
  kvsc_options client_options = {
      .struct_size = sizeof client_options, .endpoint = endpoint, .wait_connected_ms = PATIENCE_MS};
  kvs_options connector_options = {
      .struct_size = sizeof connector_options, .endpoint = endpoint, .wait_connected_ms = PATIENCE_MS};
  kvsc_client *client = (kvsc_client *)&client_options;
  kvs_connector *connector = (kvs_connector *)&connector_options;
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);
  assert_int_equal(kvsc_open(&client_options, &client), KVS_ERR_VERSION);
  assert_null(client);
  assert_int_equal(kvs_open(&connector_options, &connector), KVS_ERR_VERSION);
  assert_null(connector);
  assert_false(kvi_deadline_expired(patience)); /* it is the answer that ends the wait */
  fake_node_stop(node);
}

static void test_open(void **state)
{
  (void)state;
  static struct logged logged;
  kvi_log_set_sink(take_line, &logged);
  refused_at_open(&later);
  kvi_log_set_sink(NULL, NULL);
  assert_true(atomic_load(&logged.there));
  assert_names_both(logged.line);
}

static void test_open_of_one_that_refuses(void **state)
{
  (void)state;
  refused_at_open(&refusing);
}

/* Who does not wait has a client, on which everything misses, and which says why. */
static void test_state(void **state)
{
  (void)state;
  char endpoint[128], text[512];
  struct fake_node *node = fake_node_start(&later, endpoint);
  const kvs_options options = {.struct_size = sizeof options, .endpoint = endpoint};
  kvs_connector *connector;
  kvs_status status;
  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);
  while ((status = kvs_state(connector, text, sizeof text)) != KVS_ERR_VERSION &&
         !kvi_deadline_expired(patience))
    usleep(1000);
  assert_int_equal(status, KVS_ERR_VERSION);
  assert_names_both(text);
  kvs_close(connector);
  fake_node_stop(node);
}

/* A later node that still speaks what this side does. */
static void test_ranges_that_meet(void **state)
{
  (void)state;
  const struct fake_node_options both = {
      .frames_read = UINT32_MAX, .protocol_min = KVI_PROTOCOL_MAX, .protocol_max = KVI_PROTOCOL_MAX + 8};
  char endpoint[128];
  struct fake_node *node = fake_node_start(&both, endpoint);
  const kvs_options options = {
      .struct_size = sizeof options, .endpoint = endpoint, .wait_connected_ms = PATIENCE_MS};
  kvs_connector *connector;
  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  assert_int_equal(kvs_state(connector, NULL, 0), KVS_OK);
  kvs_close(connector);
  fake_node_stop(node);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open),
      cmocka_unit_test(test_open_of_one_that_refuses),
      cmocka_unit_test(test_state),
      cmocka_unit_test(test_ranges_that_meet),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
