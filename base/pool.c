#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/array.h"
#include "base/list.h"
#include "base/log.h"

#if defined(__SANITIZE_ADDRESS__)
#define POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_ASAN 1
#endif
#endif

#ifdef POOL_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(address, size)   __asan_poison_memory_region((address), (size))
#define UNPOISON(address, size) __asan_unpoison_memory_region((address), (size))
#else
#define POISON(address, size)   ((void)(address), (void)(size))
#define UNPOISON(address, size) ((void)(address), (void)(size))
#endif

struct kvi_pool {
  pthread_mutex_t
      lock; /* guards free_count, free_stack, taken, peak, refused; a leaf: nothing is locked under it */
  char *slab;
  size_t slab_size;
  size_t stride;
  size_t capacity;
  size_t object_size;
  size_t free_count;
  size_t peak;
  uint64_t refused;
  uint32_t *free_stack;
  uint8_t *taken; /* one byte an object: 1 while it is out; finds double returns */
  kvi_list_node link;
  char name[KVI_POOL_NAME_MAX];
};

/* The registry; its lock is taken before a pool's. */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static kvi_list registry = {{&registry.head, &registry.head}, 0};

static bool arguments_are_valid(const char *name, size_t object_size, size_t alignment, size_t capacity)
{
  return name != NULL && strlen(name) < KVI_POOL_NAME_MAX && object_size > 0 && capacity > 0 &&
         capacity <= KVI_POOL_OBJECTS_MAX && alignment <= KVI_POOL_ALIGN_MAX &&
         (alignment & (alignment - 1)) == 0;
}

/* Fresh anonymous pages: zeroed, page-aligned, and not resident before they are used. */
static kvs_status map_slab(kvi_pool *pool)
{
  void *slab;

  if (!kvi_size_mul(pool->stride, pool->capacity, &pool->slab_size))
    return KVS_ERR_NOMEM;
  slab = mmap(NULL, pool->slab_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (slab == MAP_FAILED)
    return KVS_ERR_NOMEM;
  pool->slab = slab;
  POISON(pool->slab, pool->slab_size);
  return KVS_OK;
}

static void register_pool(kvi_pool *pool)
{
  pthread_mutex_lock(&registry_lock);
  kvi_list_push_back(&registry, &pool->link);
  pthread_mutex_unlock(&registry_lock);
}

kvs_status kvi_pool_create(const char *name, size_t object_size, size_t alignment, size_t capacity,
                           kvi_pool **pool_p)
{
  kvi_pool *pool;

  *pool_p = NULL;
  if (!arguments_are_valid(name, object_size, alignment, capacity))
    return KVS_ERR_INVALID;
  if (alignment == 0)
    alignment = 16;
  pool = calloc(1, sizeof *pool);
  if (pool == NULL)
    return KVS_ERR_NOMEM;
  memcpy(pool->name, name, strlen(name) + 1);
  pool->object_size = object_size;
  pool->capacity = capacity;
  pool->free_stack = malloc(capacity * sizeof *pool->free_stack);
  pool->taken = calloc(capacity, 1);
  if (pool->free_stack == NULL || pool->taken == NULL ||
      !kvi_size_add(object_size, alignment - 1, &pool->stride))
    goto free_pool;
  pool->stride &= ~(alignment - 1);
  if (map_slab(pool) != KVS_OK)
    goto free_pool;
  for (size_t i = 0; i < capacity; i++)
    pool->free_stack[i] = (uint32_t)(capacity - 1 - i); /* object 0 goes first */
  pool->free_count = capacity;
  pthread_mutex_init(&pool->lock, NULL);
  register_pool(pool);
  *pool_p = pool;
  return KVS_OK;

free_pool:
  free(pool->taken);
  free(pool->free_stack);
  free(pool);
  return KVS_ERR_NOMEM;
}

void *kvi_pool_get(kvi_pool *pool)
{
  char *object = NULL;

  pthread_mutex_lock(&pool->lock);
  if (pool->free_count > 0) {
    uint32_t index = pool->free_stack[--pool->free_count];
    size_t in_use = pool->capacity - pool->free_count;

    pool->taken[index] = 1;
    if (in_use > pool->peak)
      pool->peak = in_use;
    object = pool->slab + index * pool->stride;
    UNPOISON(object, pool->object_size);
  } else {
    pool->refused++;
  }
  pthread_mutex_unlock(&pool->lock);
  return object;
}

static _Noreturn void die_of_misuse(const kvi_pool *pool, const char *what)
{
  kvi_log_error("pool %s: %s", pool->name, what);
  abort();
}

void kvi_pool_put(kvi_pool *pool, void *object)
{
  if (object == NULL)
    return;
  uintptr_t offset = (uintptr_t)object - (uintptr_t)pool->slab; /* huge if it lies before the slab */
  if (offset >= pool->slab_size || offset % pool->stride != 0)
    die_of_misuse(pool, "a pointer was returned that is no object of it");
  size_t index = offset / pool->stride;

  pthread_mutex_lock(&pool->lock);
  if (!pool->taken[index])
    die_of_misuse(pool, "an object was returned twice");
  pool->taken[index] = 0;
  POISON(object, pool->object_size);
  pool->free_stack[pool->free_count++] = (uint32_t)index;
  pthread_mutex_unlock(&pool->lock);
}

void kvi_pool_get_stats(kvi_pool *pool, kvi_pool_stats *stats)
{
  memset(stats, 0, sizeof *stats);
  memcpy(stats->name, pool->name, sizeof stats->name);
  stats->object_size = pool->object_size;
  stats->capacity = pool->capacity;
  pthread_mutex_lock(&pool->lock);
  stats->in_use = pool->capacity - pool->free_count;
  stats->peak = pool->peak;
  stats->refused = pool->refused;
  pthread_mutex_unlock(&pool->lock);
}

void kvi_pool_destroy(kvi_pool *pool)
{
  if (pool == NULL)
    return;
  pthread_mutex_lock(&registry_lock);
  kvi_list_remove(&registry, &pool->link);
  pthread_mutex_unlock(&registry_lock);
  if (pool->free_count != pool->capacity)
    kvi_log_warn("pool %s: destroyed with %zu objects in use", pool->name, pool->capacity - pool->free_count);
  UNPOISON(pool->slab, pool->slab_size);
  munmap(pool->slab, pool->slab_size);
  pthread_mutex_destroy(&pool->lock);
  free(pool->taken);
  free(pool->free_stack);
  free(pool);
}

void kvi_pool_visit(kvi_pool_visit_fn fn, void *ctx)
{
  kvi_pool_stats stats;

  pthread_mutex_lock(&registry_lock);
  kvi_list_for_each(&registry, node)
  {
    kvi_pool_get_stats(kvi_list_entry(node, kvi_pool, link), &stats);
    fn(ctx, &stats);
  }
  pthread_mutex_unlock(&registry_lock);
}
