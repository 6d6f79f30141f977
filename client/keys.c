/* client/keys.c: the keys of a call, checked, and as they go on the wire. */
#include <stddef.h>

#include "client/client_internal.h"
#include "proto/limits.h"

kvs_status kvi_client_keys_take(const kvsc_keys *keys, uint32_t n_max, kvsc_keys *keys_p)
{
  if (keys == NULL || !kvi_client_take_struct(keys_p, sizeof(*keys_p), keys))
    return KVS_ERR_INVALID;
  if (keys_p->n == 0 || keys_p->keys == NULL)
    return KVS_ERR_INVALID;
  if (keys_p->n > n_max)
    return KVS_ERR_TOO_LARGE;
  if (keys_p->unchained != 0) {
    keys_p->first_place = 0;
    keys_p->parent = keys_p->extent_first = NULL;
    return KVS_OK;
  }
  if (keys_p->first_place > UINT32_MAX - keys_p->n)
    return KVS_ERR_INVALID;
  if (keys_p->first_place == 0)
    keys_p->parent = NULL;
  else if (keys_p->parent == NULL)
    return KVS_ERR_INVALID;
  if (keys_p->first_place % KVI_EXTENT_CHUNKS == 0)
    keys_p->extent_first = NULL;
  else if (keys_p->extent_first == NULL)
    return KVS_ERR_INVALID;
  return KVS_OK;
}

static ProtobufCBinaryData bytes_of(const uint8_t *data, size_t length)
{
  return (ProtobufCBinaryData){.len = data == NULL ? 0 : length, .data = (uint8_t *)data};
}

void kvi_client_keys_to_message(const kvsc_keys *keys, uint32_t key_length, Kvasir__V1__Keys *message)
{
  kvasir__v1__keys__init(message);
  message->keys = bytes_of(keys->keys, (size_t)keys->n * key_length);
  message->key_length = key_length;
  message->first_place = keys->first_place;
  message->parent = bytes_of(keys->parent, key_length);
  message->extent_first = bytes_of(keys->extent_first, key_length);
  message->unchained = keys->unchained != 0;
}

void kvi_client_nobody_waits(void *ctx, kvs_status status, const ProtobufCMessage *message)
{
  (void)ctx;
  (void)status;
  (void)message;
}
