/*
 * base/pool.h: named, bounded pools of objects of one size.
 *
 *     slab (one allocation, zeroed by the kernel, touched on first use)
 *     +----------+----------+----------+-- - --+----------+
 *     | object 0 | object 1 | object 2 |       | object n |     stride = size rounded up to the alignment
 *     +----------+----------+----------+-- - --+----------+
 *     free stack: indices of free objects, the last returned on top (its cache lines are warm)
 *
 * Thread-safe. get and put take the pool's mutex for a few instructions and allocate nothing. Under
 * AddressSanitizer a free object is poisoned. Returning a pointer that is not an object of the pool, or one
 * that is free, aborts the process: the memory of some owner is already being shared and nothing after it can
 * be trusted.
 */
#ifndef KVI_BASE_POOL_H
#define KVI_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_POOL_NAME_MAX    32u /* with its NUL; longer names are refused */
#define KVI_POOL_ALIGN_MAX   4096u
#define KVI_POOL_OBJECTS_MAX (1u << 28)

typedef struct kvi_pool kvi_pool;

typedef struct kvi_pool_stats {
  char name[KVI_POOL_NAME_MAX];
  size_t object_size; /* bytes, as asked for */
  size_t capacity;    /* objects */
  size_t in_use;      /* objects */
  size_t peak;        /* most objects ever in use at once */
  uint64_t refused;   /* calls of kvi_pool_get that met the bound */
} kvi_pool_stats;

/*
 * Makes a pool of "capacity" objects of "object_size" bytes, each at a multiple of "alignment" (a power of
 * two; 0: 16), and lists it in the registry. Names need not be unique. Errors: KVS_ERR_INVALID,
 * KVS_ERR_NOMEM.
 */
kvs_status kvi_pool_create(const char *name, size_t object_size, size_t alignment, size_t capacity,
                           kvi_pool **pool_p);

/* NULL if all objects are in use. The contents are undefined. */
void *kvi_pool_get(kvi_pool *pool);

/* NULL is allowed and does nothing. */
void kvi_pool_put(kvi_pool *pool, void *object);

void kvi_pool_get_stats(kvi_pool *pool, kvi_pool_stats *stats);

/* Frees all memory. Objects still in use are logged as a warning: their owners hold dangling pointers. NULL
 * is allowed. */
void kvi_pool_destroy(kvi_pool *pool);

/* Calls fn for each pool of the process, in order of creation, under the registry's lock: fn must not create
 * or destroy pools. */
typedef void (*kvi_pool_visit_fn)(void *ctx, const kvi_pool_stats *stats);
void kvi_pool_visit(kvi_pool_visit_fn fn, void *ctx);

#endif
