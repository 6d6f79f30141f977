/*
 * tests/integration/connector/connector_pair.c: two connectors of one process on one endpoint, with the same options.
 *
 *     connector_pair ENDPOINT [CA_FILE]
 *
 * Says "two" when both are connected, and after a line on its input "one", when the first was closed; ends with the input. Exit code 1: one of
 * them is not connected, or a look-up of it is not answered.
 */
#include <stdio.h>

#include <kvasir/client.h>
#include <kvasir/connector.h>

#define WAIT_MS 60000u

static kvs_connector *open_one(const char *endpoint, const char *ca_file)
{
  const kvs_options options = {.struct_size = sizeof(options),
                               .endpoint = endpoint,
                               .wait_connected_ms = WAIT_MS,
                               .timeout_ms = WAIT_MS,
                               .tls_ca_file = ca_file,
                               .tls_server_name = ca_file != NULL ? "localhost" : NULL};
  kvs_connector *connector = NULL;
  char text[256];

  if (kvs_open(&options, &connector) != KVS_OK)
    return NULL;
  if (kvs_state(connector, text, sizeof(text)) != KVS_OK) {
    fprintf(stderr, "%s\n", text);
    kvs_close(connector);
    return NULL;
  }
  return connector;
}

static int answers(kvs_connector *connector)
{
  static const uint8_t key[KVS_HASH_SIZE] = {1};
  const kvs_space_desc desc = {.struct_size = sizeof(desc),
                               .model = "pair",
                               .engine = "test",
                               .layout = KVS_LAYOUT_OPAQUE,
                               .tokens_per_chunk = 16,
                               .hash = KVS_HASH_OPAQUE,
                               .key_length = KVS_HASH_SIZE};
  const kvs_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = key};
  kvs_completion done;
  kvs_space *space;
  kvs_op op;

  return kvs_space_open(connector, &desc, &space) == KVS_OK &&
         kvs_lookup(connector, &space, 1, &keys, NULL, &op) == KVS_OK &&
         kvs_wait(connector, op, WAIT_MS, &done) == KVS_OK && done.status == KVS_MISS &&
         done.cause != KVSC_CAUSE_NODE;
}

static void say(const char *word)
{
  puts(word);
  fflush(stdout);
}

int main(int argc, char **argv)
{
  const char *ca_file = argc > 2 ? argv[2] : NULL;
  kvs_connector *first, *second;
  int code = 1;

  if (argc < 2)
    return 2;
  first = open_one(argv[1], ca_file);
  second = open_one(argv[1], ca_file);
  if (first == NULL || second == NULL || !answers(first) || !answers(second))
    goto close;
  say("two");
  (void)getchar();
  kvs_close(first);
  first = NULL;
  if (!answers(second))
    goto close;
  say("one");
  while (getchar() != EOF)
    ;
  code = 0;
close:
  kvs_close(first);
  kvs_close(second);
  return code;
}
