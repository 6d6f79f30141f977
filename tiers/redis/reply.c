/* tiers/redis/reply.c: see reply.h. */
#include "tiers/redis/reply.h"

#include <string.h>

/* hiredis makes an array as large as the peer says before its elements have come. */
static void *create_array(const redisReadTask *task, int elements)
{
  if (elements < 0 || (unsigned)elements > KVI_REDIS_REPLY_ELEMENTS_MAX)
    return NULL; /* "out of memory" to hiredis: the reader fails */
  return ((const redisReplyObjectFunctions *)task->privdata)->createArray(task, elements);
}

kvs_status kvi_redis_reader_create(struct kvi_redis_reader *reader)
{
  memset(reader, 0, sizeof(*reader));
  reader->hiredis = redisReaderCreate();
  if (!reader->hiredis)
    return KVS_ERR_NOMEM;
  reader->standard = *reader->hiredis->fn;
  reader->functions = reader->standard;
  reader->functions.createArray = create_array;
  reader->hiredis->fn = &reader->functions;
  reader->hiredis->privdata = &reader->standard;
  return KVS_OK;
}

void kvi_redis_reader_destroy(struct kvi_redis_reader *reader)
{
  if (reader->hiredis)
    redisReaderFree(reader->hiredis);
  reader->hiredis = NULL;
}

/* Bytes up to and with the next CRLF, or all. */
static size_t piece(const char *bytes, size_t length)
{
  const char *end = memchr(bytes, '\n', length);

  return end ? (size_t)(end - bytes) + 1 : length;
}

kvs_status kvi_redis_reader_feed(struct kvi_redis_reader *reader, const char *bytes, size_t length,
                                 size_t *used_p, redisReply **reply_p)
{
  void *reply = NULL;

  *used_p = 0;
  *reply_p = NULL;
  while (*used_p < length) {
    size_t n = piece(bytes + *used_p, length - *used_p);

    if (reader->fed + n > KVI_REDIS_REPLY_BYTES_MAX)
      return KVS_ERR_PROTOCOL;
    if (redisReaderFeed(reader->hiredis, bytes + *used_p, n) != REDIS_OK)
      return KVS_ERR_NOMEM;
    *used_p += n;
    reader->fed += n;
    if (bytes[*used_p - 1] != '\n')
      continue;
    if (redisReaderGetReply(reader->hiredis, &reply) != REDIS_OK)
      return KVS_ERR_PROTOCOL;
    if (reply) {
      reader->fed = 0;
      *reply_p = reply;
      return KVS_OK;
    }
  }
  return KVS_PENDING;
}
