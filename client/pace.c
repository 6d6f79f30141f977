/* client/pace.c: how fast gets are, as a decaying average over those that brought enough bytes to tell. */
#include "base/clock.h"
#include "client/client_internal.h"
#include "proto/limits.h"

#define BYTES_MIN (64u << 10)         /* a smaller get measures the round trip */
#define PACE_MAX  (UINT64_C(1) << 40) /* what lies in a hole is not copied, and takes no time */
#define OLD_PARTS 3u                  /* of the average, to one of the get that has just ended */

_Static_assert(PACE_MAX <= UINT64_MAX / KVI_TIMEOUT_MS_MAX, "a pace for the longest time is a number");

void kvi_pace_note(struct client_op *op, uint64_t now_ns)
{
  kvsc_client *client = op->client;
  uint64_t bytes = 0, us = (now_ns - op->started_ns) / 1000 + 1, pace;

  for (uint32_t i = 0; i < op->transfer.n_chunks; i++)
    bytes += op->transfer.chunks[i].verified; /* as they came: coded ones are shorter */
  pace = bytes * 1000000 / us;                /* a transfer has far less than 2^44 bytes */
  if (pace > PACE_MAX)
    pace = PACE_MAX;
  pthread_mutex_lock(&client->mutex);
  /* A small one measures too low, never too high. Those that are sent less are small: without them a pace that is too low would stay so. */
  if (bytes >= BYTES_MIN || (client->pace > 0 && pace > client->pace))
    client->pace = client->pace > 0 ? (OLD_PARTS * client->pace + pace) / (OLD_PARTS + 1) : pace;
  pthread_mutex_unlock(&client->mutex);
}

uint64_t kvi_pace_bytes(kvsc_client *client, uint32_t ms, uint32_t n)
{
  uint64_t pace, bytes;

  pthread_mutex_lock(&client->mutex);
  pace = client->pace;
  pthread_mutex_unlock(&client->mutex);
  if (pace == 0)
    return 0;
  bytes = pace * (ms < KVI_TIMEOUT_MS_MAX ? ms : KVI_TIMEOUT_MS_MAX) / 1000 / n;
  return bytes > 0 ? bytes : 1;
}
