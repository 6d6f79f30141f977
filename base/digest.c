/*
 * SHA-256 through OpenSSL's low-level functions. They are marked deprecated in favour of EVP, which allocates
 * a context and fetches an algorithm for each digest: too dear for one key of 32 bytes, of which a lookup
 * makes hundreds.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/digest.h"

#include <assert.h>
#include <string.h>

#include <openssl/sha.h>

static_assert(sizeof(SHA256_CTX) <= sizeof(kvi_sha256_ctx), "the opaque context holds OpenSSL's");
static_assert(_Alignof(SHA256_CTX) <= _Alignof(kvi_sha256_ctx), "and is aligned for it");
static_assert(SHA256_DIGEST_LENGTH == KVI_SHA256_BYTES, "a digest is 32 bytes");

static SHA256_CTX *inner(kvi_sha256_ctx *ctx)
{
  return (SHA256_CTX *)(void *)ctx->opaque;
}

/* The functions below return 1 always: they have nothing that can fail. */

void kvi_sha256_init(kvi_sha256_ctx *ctx)
{
  memset(ctx, 0, sizeof *ctx);
  SHA256_Init(inner(ctx));
}

void kvi_sha256_update(kvi_sha256_ctx *ctx, const void *buf, size_t length)
{
  if (length > 0)
    SHA256_Update(inner(ctx), buf, length);
}

void kvi_sha256_final(kvi_sha256_ctx *ctx, uint8_t digest[KVI_SHA256_BYTES])
{
  SHA256_Final(digest, inner(ctx));
}

void kvi_sha256(const void *buf, size_t length, uint8_t digest[KVI_SHA256_BYTES])
{
  kvi_sha256_ctx ctx;

  kvi_sha256_init(&ctx);
  kvi_sha256_update(&ctx, buf, length);
  kvi_sha256_final(&ctx, digest);
}
