/* client/cli/replay_crew.c: who sends what of a replay, and when. */
#include <stdlib.h>

#include "client/cli/replay.h"

#define LOOK_MS 100u /* how often the bar and the terminal are looked at */

/* What is sent at one time: a request, or what is told when it is answered. */
struct action {
  uint64_t at_ns; /* of the schedule */
  uint64_t
      position; /* twice the event's number and 1; of an answer, twice that of the event that it is told before */
  uint32_t event;
  bool answer;
};

/* Who works on what. */
struct replay_crew {
  struct replay *replay;
  struct action *actions;
  size_t n_actions;
  uint64_t start_ns;

  pthread_mutex_t lock;
  pthread_cond_t changed; /* something was done, or all is to end */
  pthread_cond_t ended;   /* the last worker has ended */
  size_t next;            /* action that nobody has */
  bool stop;
  uint32_t working; /* workers that have not ended */
  struct member {
    struct replay_crew *crew;
    kvi_thread thread;
    struct replay_worker *worker;
    size_t action;
    bool busy; /* with `action` */
  } members[REPLAY_PARALLEL_MAX];
  uint32_t n_members;
};

/* ---- what is sent ---- */

static int by_position(const void *a, const void *b)
{
  const struct action *x = a, *y = b;

  if (x->position != y->position)
    return x->position < y->position ? -1 : 1;
  if (x->at_ns != y->at_ns)
    return x->at_ns < y->at_ns ? -1 : 1;
  return (x->event > y->event) - (x->event < y->event);
}

/* The first requests and, with hints, their answers, in the order of their times; what is told at the time of a request is told before it. */
static struct action *make_actions(const struct replay *replay, uint32_t requests, size_t *n_p)
{
  const struct sim_schedule *schedule = replay->schedule;
  struct action *actions = malloc((2 * (size_t)requests + 1) * sizeof *actions);
  size_t n = 0;

  if (actions == NULL)
    return NULL;
  for (uint32_t i = 0; i < requests; i++) {
    uint32_t before;
    double answered_ns;

    actions[n++] =
        (struct action){.at_ns = schedule->events[i].at_ns, .position = 2 * (uint64_t)i + 1, .event = i};
    if (replay->told == NULL)
      continue;
    before = sim_schedule_answered(replay->trace, schedule, i, &answered_ns);
    if (before > requests)
      before = requests;
    if (!sim_schedule_is_overtaken(replay->trace, schedule, i, before))
      actions[n++] = (struct action){
          .at_ns = (uint64_t)answered_ns, .position = 2 * (uint64_t)before, .event = i, .answer = true};
  }
  qsort(actions, n, sizeof *actions, by_position);
  *n_p = n;
  return actions;
}

/* ---- workers ---- */

static uint64_t due_ns(const struct replay_crew *crew, size_t action)
{
  double after_ns;

  if (!(crew->replay->speed > 0))
    return 0;
  after_ns = (double)(crew->actions[action].at_ns - crew->actions[0].at_ns) / crew->replay->speed;
  return crew->start_ns + (after_ns < 1e18 ? (uint64_t)after_ns : UINT64_C(1000000000000000000));
}

static const struct sim_request *request_of(const struct replay_crew *crew, size_t action)
{
  const struct replay *replay = crew->replay;

  return &replay->trace->requests[replay->schedule->events[crew->actions[action].event].request];
}

/* One agent does one thing after the other. Where a trace does not tell its runs, nobody waits for another. */
static bool is_behind_another(const struct replay_crew *crew, size_t action)
{
  const struct sim_request *request = request_of(crew, action);

  if (!crew->replay->trace->tells_runs)
    return false;
  for (uint32_t i = 0; i < crew->n_members; i++) {
    const struct member *other = &crew->members[i];

    if (other->busy && other->action < action && request_of(crew, other->action)->run == request->run &&
        request_of(crew, other->action)->agent == request->agent)
      return true;
  }
  return false;
}

/* With the lock: until the action is due and may begin. False: all is to end. */
static bool wait_for_turn(struct replay_crew *crew, size_t action)
{
  uint64_t due = due_ns(crew, action);

  while (!crew->stop && (kvi_now_ns() < due || is_behind_another(crew, action))) {
    uint64_t now = kvi_now_ns();
    kvi_deadline deadline = now < due ? (kvi_deadline){due} : kvi_deadline_from_ms(KVI_DEADLINE_MAX_MS);

    (void)kvi_cond_wait(&crew->changed, &crew->lock, deadline);
  }
  return !crew->stop;
}

/* As if it had come when the trace says. It never goes back: what takes longer than in the trace is later. */
static void turn_clock(const struct replay_crew *crew, size_t action)
{
  uint64_t passed = kvi_now_ns() - crew->start_ns, at = crew->actions[action].at_ns - crew->actions[0].at_ns;
  uint64_t ahead = atomic_load_explicit(crew->replay->clock, memory_order_relaxed);

  while (at > passed && at - passed > ahead &&
         !atomic_compare_exchange_weak_explicit(crew->replay->clock, &ahead, at - passed,
                                                memory_order_relaxed, memory_order_relaxed))
    ;
}

static kvs_status act(struct replay_crew *crew, struct member *member)
{
  const struct action *action = &crew->actions[member->action];
  uint64_t due = due_ns(crew, member->action), now = kvi_now_ns();

  if (crew->replay->clock != NULL)
    turn_clock(crew, member->action);
  if (!action->answer)
    return replay_request(member->worker, action->event, due > 0 && now > due ? now - due : 0);
  replay_answer(member->worker, action->event);
  return KVS_OK;
}

static void work(void *own)
{
  struct member *member = own;
  struct replay_crew *crew = member->crew;

  pthread_mutex_lock(&crew->lock);
  while (!crew->stop && crew->next < crew->n_actions) {
    kvs_status status = KVS_OK;

    member->action = crew->next++;
    member->busy = true;
    if (wait_for_turn(crew, member->action)) {
      pthread_mutex_unlock(&crew->lock);
      status = act(crew, member);
      pthread_mutex_lock(&crew->lock);
    }
    member->busy = false;
    if (status != KVS_OK) {
      crew->replay->failed = status;
      crew->stop = true;
    }
    pthread_cond_broadcast(&crew->changed);
  }
  if (--crew->working == 0)
    pthread_cond_signal(&crew->ended);
  pthread_mutex_unlock(&crew->lock);
}

static uint64_t requests_done(struct replay *replay)
{
  uint64_t n;

  pthread_mutex_lock(&replay->lock);
  n = replay->sums.requests;
  pthread_mutex_unlock(&replay->lock);
  return n;
}

/* Draws the bar until all workers have ended, and ends them when somebody interrupts. */
static void watch(struct replay_crew *crew, uint64_t requests)
{
  struct cli_progress progress;

  cli_progress_start(&progress, "replaying", requests);
  progress.unit = "requests";
  pthread_mutex_lock(&crew->lock);
  while (crew->working > 0) {
    (void)kvi_cond_wait(&crew->ended, &crew->lock, kvi_deadline_from_ms(LOOK_MS));
    if (replay_is_interrupted() && !crew->stop) {
      crew->stop = true;
      pthread_cond_broadcast(&crew->changed);
    }
    pthread_mutex_unlock(&crew->lock);
    cli_progress_at(&progress, requests_done(crew->replay));
    pthread_mutex_lock(&crew->lock);
  }
  pthread_mutex_unlock(&crew->lock);
  cli_progress_end(&progress);
}

static void worker_free(struct replay_worker *worker)
{
  if (worker == NULL)
    return;
  free(worker->keys);
  free(worker->bytes);
  free(worker);
}

static struct replay_worker *worker_new(struct replay *replay, uint32_t most_chunks)
{
  struct replay_worker *worker = calloc(1, sizeof *worker);

  if (worker == NULL)
    return NULL;
  worker->replay = replay;
  worker->keys = malloc(((size_t)most_chunks + 1) * sizeof *worker->keys);
  worker->bytes = malloc(replay->batch * replay->chunk_bytes);
  if (worker->keys != NULL && worker->bytes != NULL)
    return worker;
  worker_free(worker);
  return NULL;
}

static uint32_t most_chunks(const struct sim_trace *trace)
{
  uint32_t most = 0;

  for (size_t i = 0; i < trace->n_requests; i++)
    if (most < trace->requests[i].n_chunks)
      most = trace->requests[i].n_chunks;
  return most;
}

/* All of them, or those that did start end at once. */
static kvs_status start_all(struct replay_crew *crew)
{
  kvs_status status = KVS_OK;

  pthread_mutex_lock(&crew->lock);
  crew->start_ns = kvi_now_ns();
  for (uint32_t i = 0; i < crew->n_members && status == KVS_OK; i++) {
    status = kvi_thread_start(&crew->members[i].thread, "replay", work, &crew->members[i]);
    crew->working += status == KVS_OK;
  }
  crew->stop = status != KVS_OK;
  pthread_mutex_unlock(&crew->lock);
  return status;
}

kvs_status replay_crew_work(struct replay_crew *crew, struct replay_run *run)
{
  kvs_status status = start_all(crew);

  watch(crew, run->requests_all);
  for (uint32_t i = 0; i < crew->n_members; i++)
    kvi_thread_join(&crew->members[i].thread);
  run->elapsed_s = (double)(kvi_now_ns() - crew->start_ns) / 1e9;
  run->interrupted = replay_is_interrupted();
  return status;
}

/* ---- its life ---- */

void replay_crew_free(struct replay_crew *crew)
{
  if (crew == NULL)
    return;
  for (uint32_t i = 0; i < crew->n_members; i++)
    worker_free(crew->members[i].worker);
  pthread_cond_destroy(&crew->changed);
  pthread_cond_destroy(&crew->ended);
  pthread_mutex_destroy(&crew->lock);
  free(crew->actions);
  free(crew);
}

struct replay_crew *replay_crew_new(struct replay *replay, uint32_t parallel, uint32_t requests)
{
  struct replay_crew *crew = calloc(1, sizeof *crew);
  uint32_t most = most_chunks(replay->trace);

  if (crew == NULL || kvi_cond_init(&crew->changed) != KVS_OK) {
    free(crew);
    return NULL;
  }
  if (kvi_cond_init(&crew->ended) != KVS_OK) {
    pthread_cond_destroy(&crew->changed);
    free(crew);
    return NULL;
  }
  pthread_mutex_init(&crew->lock, NULL);
  crew->replay = replay;
  crew->actions = make_actions(replay, requests, &crew->n_actions);
  for (; crew->n_members < parallel; crew->n_members++) {
    struct member *member = &crew->members[crew->n_members];

    member->crew = crew;
    member->worker = worker_new(replay, most);
    if (member->worker == NULL)
      break;
  }
  if (crew->actions != NULL && crew->n_members == parallel)
    return crew;
  replay_crew_free(crew);
  return NULL;
}
