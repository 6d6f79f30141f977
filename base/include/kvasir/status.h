/*
 * kvasir/status.h: the one result type of every Kvasir function, public and internal.
 *
 * 0 is success, positive values are answers that are not errors, negative values are errors in ranges by what is
 * damaged: the request, the connection, a tier, the process. Values are pinned: they travel on the wire and are
 * never reused (docs/formats/wire.md).
 */
#ifndef KVASIR_STATUS_H
#define KVASIR_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KVS_API __attribute__((visibility("default")))
#else
#define KVS_API
#endif

typedef enum kvs_status {
  KVS_OK = 0,

  /* Answers. */
  KVS_MISS = 1,    /* no such chunk, or not usable; the cause is counted and told beside it */
  KVS_PARTIAL = 2, /* some chunks of a batch hit, some did not; look at each chunk's status */
  KVS_EXISTS = 3,  /* a put found the chunk already stored: nothing was written, nothing is missing */
  KVS_PENDING = 4, /* asked too early: the answer is under way */
  KVS_DECLINED =
      5, /* a put: what would have to go for the chunk is worth more; nothing was stored, and nothing is wrong */

  /* The request: only this call is affected. */
  KVS_ERR_INVALID = -1,       /* an argument breaks the written contract */
  KVS_ERR_DEADLINE = -2,      /* the call's own deadline passed */
  KVS_ERR_CANCELED = -3,      /* cancelled by the caller */
  KVS_ERR_KEY_LENGTH = -4,    /* a key is not 8 to 64 bytes, or not of its space's length */
  KVS_ERR_TOO_LARGE = -5,     /* a chunk, batch or message is above the peer's or the configured limit */
  KVS_ERR_SPACE_UNKNOWN = -6, /* no space with this digest was opened at the node */
  KVS_ERR_SPACE_MISMATCH =
      -7,                   /* the descriptor does not give its digest, or the chunk does not fit its space */
  KVS_ERR_UNSUPPORTED = -8, /* this build, tier or wire cannot do it */
  KVS_ERR_BUSY = -9,        /* a bound is reached (queue, leases, operations in flight): try again later */
  KVS_ERR_QUOTA = -10,      /* the tenant's share is used up */
  KVS_ERR_BUFFER = -11,     /* the caller's memory is too small for the answer */
  KVS_ERR_CHECKSUM = -12,   /* the bytes of a put do not fit the checksum sent with them */

  /* The connection: every operation on it is affected. */
  KVS_ERR_UNREACHABLE = -100, /* no connection could be made, or it was lost */
  KVS_ERR_VERSION = -101,     /* no protocol version in common; the message names both ranges */
  KVS_ERR_PROTOCOL = -102,    /* the peer sent what the protocol does not allow */
  KVS_ERR_DRAINING = -103,    /* the node is shutting down and takes nothing new */
  KVS_ERR_DENIED = -104,      /* the peer's credential is missing or not enough */

  /* A tier: its contents or medium are affected. */
  KVS_ERR_FULL = -200,    /* no room, and nothing may be evicted to make some */
  KVS_ERR_CORRUPT = -201, /* stored bytes do not fit their checksum; the chunk was dropped */
  KVS_ERR_IO = -202,      /* the medium failed */

  /* The process. */
  KVS_ERR_NOMEM = -300,    /* memory could not be had */
  KVS_ERR_CONFIG = -301,   /* the configuration is refused; the message names line and reason */
  KVS_ERR_SYSTEM = -302,   /* a system call failed; the log has its errno */
  KVS_ERR_FORKED = -303,   /* opened before fork, used after it, in the child */
  KVS_ERR_CLOSED = -304,   /* the object is being closed */
  KVS_ERR_INTERNAL = -305, /* a bug: please report it */
} kvs_status;

/* One lower-case sentence without a full stop, never NULL, static; "unknown status" for values not above. Thread-safe. */
KVS_API const char *kvs_status_text(kvs_status status);

/* The symbol without its prefix ("ERR_DEADLINE"), never NULL, static. Thread-safe. */
KVS_API const char *kvs_status_name(kvs_status status);

#ifdef __cplusplus
}
#endif
#endif
