#include "tests/bench/held.h"

#include <stdlib.h>
#include <string.h>

void bench_held_key(uint64_t number, uint8_t key[BENCH_KEY])
{
  memset(key, 0x6b, BENCH_KEY);
  memcpy(key, &number, sizeof number);
}

static uint64_t number_of(const struct kvi_medium_identity *identity)
{
  uint64_t number;

  memcpy(&number, identity->key, sizeof number);
  return number;
}

bool bench_held_open(struct bench_held *held, struct kvi_medium *medium, uint64_t size, uint64_t room)
{
  *held = (struct bench_held){.medium = medium, .size = size, .room = room};
  held->chunks = calloc(room, sizeof *held->chunks);
  pthread_mutex_init(&held->lock, NULL);
  return held->chunks != NULL;
}

void bench_held_close(struct bench_held *held)
{
  if (held->room == 0)
    return;
  pthread_mutex_destroy(&held->lock);
  free(held->chunks);
  *held = (struct bench_held){0};
}

/* ---- what the medium asks ---- */

/* Under the lock. NULL: not one of those that are held. */
static struct bench_held_chunk *chunk_of(struct bench_held *held, uint64_t number)
{
  return number >= held->oldest && number < held->next ? &held->chunks[number % held->room] : NULL;
}

static bool holds(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle)
{
  struct bench_held *held = ctx;
  const struct bench_held_chunk *chunk;
  bool is_there;

  pthread_mutex_lock(&held->lock);
  chunk = chunk_of(held, number_of(identity));
  is_there = chunk != NULL && chunk->handle == handle;
  pthread_mutex_unlock(&held->lock);
  return is_there;
}

static bool moved(void *ctx, kvi_medium_handle from, const struct kvi_medium_found *to)
{
  struct bench_held *held = ctx;
  struct bench_held_chunk *chunk;
  bool was_there;

  pthread_mutex_lock(&held->lock);
  chunk = chunk_of(held, number_of(&to->identity));
  was_there = chunk != NULL && chunk->handle == from;
  if (was_there)
    chunk->handle = to->handle;
  pthread_mutex_unlock(&held->lock);
  return was_there;
}

/* Under the lock. False: the oldest is on its way. */
static bool drop_oldest(struct bench_held *held)
{
  const struct bench_held_chunk *chunk = &held->chunks[held->oldest % held->room];

  if (chunk->handle == 0)
    return false;
  held->medium->ops->drop(held->medium, NULL, chunk->handle, false);
  held->oldest++;
  return true;
}

static uint64_t make_room(void *ctx, uint64_t bytes)
{
  struct bench_held *held = ctx;
  uint64_t freed = 0;

  pthread_mutex_lock(&held->lock);
  while (freed < bytes && held->oldest < held->next && drop_oldest(held))
    freed += held->size;
  pthread_mutex_unlock(&held->lock);
  return freed;
}

/* A run that meets these ends with an error of its get or put. */
static void corrupt(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle)
{
  (void)ctx, (void)identity, (void)handle;
}

static void lost(void *ctx, kvi_medium_handle first, kvi_medium_handle last)
{
  (void)ctx, (void)first, (void)last;
}

static bool not_wanted(void *ctx, const struct kvi_medium_found *found)
{
  (void)ctx, (void)found;
  return false;
}

kvs_status bench_held_recover(struct bench_held *held)
{
  struct kvi_medium_owner owner = {
      .ctx = held, .holds = holds, .moved = moved, .make_room = make_room, .corrupt = corrupt, .lost = lost};

  return held->medium->ops->recover(held->medium, &owner, not_wanted);
}

/* ---- what the bench does ---- */

uint64_t bench_held_begin(struct bench_held *held, uint32_t place)
{
  uint64_t number;

  pthread_mutex_lock(&held->lock);
  number = held->next++;
  if (held->next - held->oldest > held->room)
    held->oldest++; /* media that let go by themselves */
  held->chunks[number % held->room] = (struct bench_held_chunk){.place = place};
  pthread_mutex_unlock(&held->lock);
  return number;
}

void bench_held_end(struct bench_held *held, uint64_t number, kvi_medium_handle handle)
{
  pthread_mutex_lock(&held->lock);
  held->chunks[number % held->room].handle = handle;
  while (held->most > 0 && held->next - held->oldest > held->most && drop_oldest(held))
    ;
  pthread_mutex_unlock(&held->lock);
}

bool bench_held_find(struct bench_held *held, uint64_t number, struct bench_held_chunk *chunk_p)
{
  const struct bench_held_chunk *chunk;

  pthread_mutex_lock(&held->lock);
  chunk = chunk_of(held, number);
  if (chunk != NULL)
    *chunk_p = *chunk;
  pthread_mutex_unlock(&held->lock);
  return chunk != NULL && chunk_p->handle != 0;
}
