/*
 * reach_client: what an engine sees of an endpoint that may be no node at all.
 *
 *     reach_client ENDPOINT WAIT_MS TIMEOUT_MS [CA_FILE [CERTIFICATE_FILE KEY_FILE]]
 *
 * Opens a connector and does a lookup, a put and a get of one chunk. One line each: what, its status, its milliseconds;
 * the line of "open" ends with the connector's sentence on why the node cannot be used. Each operation's memory is
 * freed as soon as it has ended. Exit code 0 whatever the statuses are: the caller judges them; 1: an operation did not
 * end, or a get that says OK gave other bytes; 2: usage.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kvasir/connector.h>

#include "base/clock.h"

#define CHUNK_BYTES (256u << 10)
#define NEVER_MS    60000u /* beyond any deadline: an operation that takes so long hangs */

static uint32_t elapsed_ms(uint64_t began)
{
  return (uint32_t)((kvi_now_ns() - began) / KVI_NS_PER_MS);
}

/* What an operation does with the chunk. */
enum what { LOOKUP, PUT, GET };

static kvs_status start(kvs_connector *connector, kvs_space *space, enum what what,
                        const kvs_request *request, unsigned char *memory, kvs_op *op_p)
{
  static const uint8_t key[KVS_HASH_SIZE] = {1, 2, 3};
  const kvs_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = key, .unchained = 1};
  const kvs_buffer buffer = {.base = memory, .length = CHUNK_BYTES};

  if (what == LOOKUP)
    return kvs_lookup(connector, &space, 1, &keys, request, op_p);
  return what == PUT ? kvs_put_buffers(space, &keys, &buffer, request, op_p)
                     : kvs_get_buffers(space, &keys, &buffer, request, op_p);
}

static int run(kvs_connector *connector, kvs_space *space, enum what what, uint32_t timeout_ms)
{
  static const char *const names[] = {[LOOKUP] = "lookup", [PUT] = "put", [GET] = "get"};
  const kvs_request request = {.struct_size = sizeof(request), .timeout_ms = timeout_ms};
  unsigned char *memory = malloc(CHUNK_BYTES);
  kvs_completion completion = {0};
  kvs_op op;
  int result = 0;

  if (memory == NULL)
    return 2;
  memset(memory, what == PUT ? 0x5a : 0, CHUNK_BYTES);
  uint64_t began = kvi_now_ns();
  kvs_status status = start(connector, space, what, &request, memory, &op);
  if (status == KVS_OK && kvs_wait(connector, op, timeout_ms + NEVER_MS, &completion) != KVS_OK) {
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): its memory is still in use */
    printf("%s did not end\n", names[what]);
    return 1;
  }
  if (status == KVS_OK)
    status = completion.status;
  printf("%s %s %" PRIu32 "\n", names[what], kvs_status_name(status), elapsed_ms(began));
  for (size_t i = 0; what == GET && status == KVS_OK && i < CHUNK_BYTES; i++)
    result = memory[i] != 0x5a ? 1 : result;
  free(memory);
  return result;
}

static int use(kvs_connector *connector, uint32_t timeout_ms)
{
  const kvs_space_desc desc = {.struct_size = sizeof(desc),
                               .model = "reach",
                               .engine = "reach_client",
                               .layout = KVS_LAYOUT_OPAQUE,
                               .tokens_per_chunk = 256,
                               .key_length = KVS_HASH_SIZE,
                               .chunk_bytes = CHUNK_BYTES};
  kvs_space *space;
  kvs_status status = kvs_space_open(connector, &desc, &space);
  int result = 0;

  if (status != KVS_OK) {
    printf("space %s\n", kvs_status_name(status));
    return 2;
  }
  for (int what = LOOKUP; what <= GET && result == 0; what++)
    result = run(connector, space, (enum what)what, timeout_ms);
  return result;
}

int main(int argc, char **argv)
{
  kvs_options options = {.struct_size = sizeof(options)};
  kvs_connector *connector;
  char why[512] = "";
  int result;

  if (argc != 4 && argc != 5 && argc != 7) {
    fprintf(stderr,
            "usage: reach_client ENDPOINT WAIT_MS TIMEOUT_MS [CA_FILE [CERTIFICATE_FILE KEY_FILE]]\n");
    return 2;
  }
  options.endpoint = argv[1];
  options.wait_connected_ms = (uint32_t)strtoul(argv[2], NULL, 10);
  options.timeout_ms = (uint32_t)strtoul(argv[3], NULL, 10);
  options.tls_ca_file = argc > 4 ? argv[4] : NULL;
  options.tls_cert_file = argc > 5 ? argv[5] : NULL;
  options.tls_key_file = argc > 5 ? argv[6] : NULL;

  uint64_t began = kvi_now_ns();
  kvs_status status = kvs_open(&options, &connector);
  if (status == KVS_OK)
    status = kvs_state(connector, why, sizeof(why));
  printf("open %s %" PRIu32 " %s\n", kvs_status_name(status), elapsed_ms(began), why);
  if (connector == NULL)
    return 0;
  result = use(connector, options.timeout_ms);
  began = kvi_now_ns();
  kvs_close(connector);
  printf("close OK %" PRIu32 "\n", elapsed_ms(began));
  return result;
}
