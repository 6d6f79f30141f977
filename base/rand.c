#include "base/rand.h"

#include <errno.h>
#include <sys/random.h>

#include "base/log.h"

kvs_status kvi_random_bytes(void *buf, size_t length)
{
  char *at = buf;

  while (length > 0) {
    ssize_t got = getrandom(at, length, 0);

    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      kvi_log_error("getrandom gave no random bytes: %m");
      return KVS_ERR_SYSTEM;
    }
    at += got;
    length -= (size_t)got;
  }
  return KVS_OK;
}

kvs_status kvi_random_id(uint64_t *id_p)
{
  uint64_t id = 0;

  *id_p = 0;
  while (id == 0) {
    kvs_status status = kvi_random_bytes(&id, sizeof id);

    if (status != KVS_OK)
      return status;
  }
  *id_p = id;
  return KVS_OK;
}
