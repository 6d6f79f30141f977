/* The text and name of every kvs_status. A value missing here fails the compile (-Wswitch) and
 * tests/unit/base. */
#include "kvasir/status.h"

const char *kvs_status_text(kvs_status status)
{
  switch (status) {
  case KVS_OK:
    return "success";
  case KVS_MISS:
    return "no such chunk or not usable";
  case KVS_PARTIAL:
    return "some chunks of the batch hit and some did not";
  case KVS_EXISTS:
    return "the chunk is already stored";
  case KVS_PENDING:
    return "the answer is under way";
  case KVS_DECLINED:
    return "what would have to go for the chunk is worth more";
  case KVS_ERR_INVALID:
    return "an argument breaks the contract of the call";
  case KVS_ERR_DEADLINE:
    return "the deadline of the call passed";
  case KVS_ERR_CANCELED:
    return "canceled by the caller";
  case KVS_ERR_KEY_LENGTH:
    return "a key has a length its space does not allow";
  case KVS_ERR_TOO_LARGE:
    return "a chunk, batch or message is above the limit";
  case KVS_ERR_SPACE_UNKNOWN:
    return "the space was not opened at the node";
  case KVS_ERR_SPACE_MISMATCH:
    return "the space descriptor does not fit its digest or its chunks";
  case KVS_ERR_UNSUPPORTED:
    return "not supported by this build, tier or wire";
  case KVS_ERR_BUSY:
    return "a bound is reached, try again later";
  case KVS_ERR_QUOTA:
    return "the share of the tenant is used up";
  case KVS_ERR_BUFFER:
    return "the memory given is too small for the answer";
  case KVS_ERR_CHECKSUM:
    return "the bytes do not fit the checksum sent with them";
  case KVS_ERR_UNREACHABLE:
    return "no connection could be made or it was lost";
  case KVS_ERR_VERSION:
    return "no protocol version in common";
  case KVS_ERR_PROTOCOL:
    return "the peer broke the protocol";
  case KVS_ERR_DRAINING:
    return "the node is draining and takes nothing new";
  case KVS_ERR_DENIED:
    return "the credential is missing or not enough";
  case KVS_ERR_FULL:
    return "no room and nothing may be evicted";
  case KVS_ERR_CORRUPT:
    return "stored bytes do not fit their checksum";
  case KVS_ERR_IO:
    return "the storage medium failed";
  case KVS_ERR_NOMEM:
    return "out of memory";
  case KVS_ERR_CONFIG:
    return "the configuration is refused";
  case KVS_ERR_SYSTEM:
    return "a system call failed";
  case KVS_ERR_FORKED:
    return "opened before fork and used after it";
  case KVS_ERR_CLOSED:
    return "the object is being closed";
  case KVS_ERR_INTERNAL:
    return "internal error, please report it";
  }
  return "unknown status";
}

#define NAME_CASE(name)                                                                                      \
  case KVS_##name:                                                                                           \
    return #name

const char *kvs_status_name(kvs_status status)
{
  switch (status) {
    NAME_CASE(OK);
    NAME_CASE(MISS);
    NAME_CASE(PARTIAL);
    NAME_CASE(EXISTS);
    NAME_CASE(PENDING);
    NAME_CASE(DECLINED);
    NAME_CASE(ERR_INVALID);
    NAME_CASE(ERR_DEADLINE);
    NAME_CASE(ERR_CANCELED);
    NAME_CASE(ERR_KEY_LENGTH);
    NAME_CASE(ERR_TOO_LARGE);
    NAME_CASE(ERR_SPACE_UNKNOWN);
    NAME_CASE(ERR_SPACE_MISMATCH);
    NAME_CASE(ERR_UNSUPPORTED);
    NAME_CASE(ERR_BUSY);
    NAME_CASE(ERR_QUOTA);
    NAME_CASE(ERR_BUFFER);
    NAME_CASE(ERR_CHECKSUM);
    NAME_CASE(ERR_UNREACHABLE);
    NAME_CASE(ERR_VERSION);
    NAME_CASE(ERR_PROTOCOL);
    NAME_CASE(ERR_DRAINING);
    NAME_CASE(ERR_DENIED);
    NAME_CASE(ERR_FULL);
    NAME_CASE(ERR_CORRUPT);
    NAME_CASE(ERR_IO);
    NAME_CASE(ERR_NOMEM);
    NAME_CASE(ERR_CONFIG);
    NAME_CASE(ERR_SYSTEM);
    NAME_CASE(ERR_FORKED);
    NAME_CASE(ERR_CLOSED);
    NAME_CASE(ERR_INTERNAL);
  }
  return "UNKNOWN";
}
