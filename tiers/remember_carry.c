/* tiers/remember_carry.c: waiters whose chunks were not there at the start are written again, for the start that has them: a device that was not mounted once is no reason to forget. */
#include <stdlib.h>
#include <string.h>

#include "tiers/remember_private.h"

/* Who it is: a program; without a name the chunk at which it ends. */
static uint64_t name_of(const struct kvi_state_waiter *waiter)
{
  return waiter->kept.program ? waiter->kept.program
                              : (uint64_t)waiter->tags[0][0] << 32 | waiter->tags[0][1];
}

static int by_name(const void *a, const void *b)
{
  uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;

  return (first > second) - (first < second);
}

int kvi_remember_older_first(const void *a, const void *b)
{
  uint64_t first = ((const struct kvi_state_waiter *)a)->kept.used_ns,
           second = ((const struct kvi_state_waiter *)b)->kept.used_ns; /* ages */

  return (first < second) - (first > second);
}

static uint64_t later(uint64_t age_ns, uint64_t since_ns)
{
  return age_ns < KVI_STATE_AGE_MOST_NS && since_ns < KVI_STATE_AGE_MOST_NS - age_ns ? age_ns + since_ns
                                                                                     : KVI_STATE_AGE_MOST_NS;
}

/* The number of its space in the state, which has room; a space may be there twice. */
static uint32_t space_add(const struct kvi_state *carried, uint32_t number, uint32_t *places,
                          struct kvi_state *state)
{
  if (places[number] == 0) {
    state->spaces[state->n_spaces++] = carried->spaces[number];
    places[number] = state->n_spaces;
  }
  return places[number] - 1;
}

static bool room_make(const struct kvi_state *carried, struct kvi_state *state)
{
  size_t n_spaces = (size_t)state->n_spaces + carried->n_spaces,
         n_waiters = (size_t)state->n_waiters + carried->n_waiters;
  struct kvi_state_space *spaces = realloc(state->spaces, n_spaces * sizeof(*spaces));
  struct kvi_state_waiter *waiters;

  if (!spaces)
    return false;
  state->spaces = spaces;
  waiters = realloc(state->waiters, n_waiters * sizeof(*waiters));
  if (!waiters)
    return false;
  state->waiters = waiters;
  return true;
}

kvs_status kvi_remember_carry(const struct kvi_state *carried, uint64_t since_ns, struct kvi_state *state)
{
  uint64_t *names;
  uint32_t *places, n_names = state->n_waiters;
  bool made;

  if (carried->n_waiters == 0)
    return KVS_OK;
  names = malloc(((size_t)n_names + 1) * sizeof(*names));
  places = calloc((size_t)carried->n_spaces + 1, sizeof(*places));
  made = names && places && room_make(carried, state);
  for (uint32_t i = 0; made && i < n_names; i++)
    names[i] = name_of(&state->waiters[i]);
  if (made)
    qsort(names, n_names, sizeof(*names), by_name);
  for (uint32_t i = carried->n_waiters;
       made && i-- > 0;) { /* the newest first: there may be no room for all */
    const struct kvi_state_waiter *waiter = &carried->waiters[i];
    struct kvi_state_waiter *own = &state->waiters[state->n_waiters];
    uint64_t name = name_of(waiter);

    if (later(waiter->kept.used_ns, since_ns) > KVI_STATE_CARRIED_MOST_NS ||
        state->n_waiters == KVI_STATE_WAITERS_MAX || state->n_spaces == KVI_STATE_SPACES_MAX)
      break;
    if (bsearch(&name, names, n_names, sizeof(*names), by_name)) /* it has come meanwhile */
      continue;
    *own = *waiter;
    own->kept.space = space_add(carried, waiter->kept.space, places, state);
    own->kept.used_ns = later(own->kept.used_ns, since_ns);
    own->kept.seen_ns = later(own->kept.seen_ns, since_ns);
    own->kept.begins_ns = later(own->kept.begins_ns, since_ns);
    state->n_waiters++;
  }
  if (made)
    qsort(state->waiters, state->n_waiters, sizeof(*state->waiters), kvi_remember_older_first);
  free(names);
  free(places);
  return made ? KVS_OK : KVS_ERR_NOMEM;
}
