/*
 * base/digest.h: SHA-256, for keys and the digests of spaces. Not for passwords, not keyed.
 *
 * Nothing here allocates, locks or blocks; a context lies where the caller puts it and needs no destroy. One
 * context is used by one thread at a time.
 */
#ifndef KVI_BASE_DIGEST_H
#define KVI_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define KVI_SHA256_BYTES 32u

typedef struct kvi_sha256_ctx {
  uint64_t
      opaque[14]; /* OpenSSL's SHA256_CTX; its size is asserted in digest.c. May be copied to fork a chain. */
} kvi_sha256_ctx;

void kvi_sha256(const void *buf, size_t length, uint8_t digest[KVI_SHA256_BYTES]);

void kvi_sha256_init(kvi_sha256_ctx *ctx);
void kvi_sha256_update(kvi_sha256_ctx *ctx, const void *buf, size_t length);

/* Gives the digest; ctx must be initialised again before its next use. */
void kvi_sha256_final(kvi_sha256_ctx *ctx, uint8_t digest[KVI_SHA256_BYTES]);

#endif
