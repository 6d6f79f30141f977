/* tiers/service_curve.c: what memory of another size would have had: the control method, and rows of the statistics. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/service_private.h"

#define AGE_NS       (UINT64_C(1000000000)) /* one may be so old; each takes some ms of a poller */
#define STATS_AGE_NS (60 * UINT64_C(1000000000))
#define HELP                                                                                                 \
  "Estimated from samples: tokens looked up that memory had, of all: of the node itself (node), by last "    \
  "use (lru), by next use (belady), and by last use with a quarter more memory (lru_more); NaN: too little " \
  "was looked up."

static kvs_status point_add(Kvasir__V1__CurveReply *answer, const struct kvi_sampler_report *report,
                            uint32_t number)
{
  const struct kvi_curve_point *point = &report->curve.points[number];
  Kvasir__V1__CurvePoint *told = malloc(sizeof(*told));

  if (!told)
    return KVS_ERR_NOMEM;
  kvasir__v1__curve_point__init(told);
  answer->points[answer->n_points++] = told;
  told->factor = kvi_curve_factors[number];
  told->bytes = (uint64_t)((double)report->capacity * told->factor);
  told->lru = point->lru;
  told->belady = point->belady;
  told->lru_error = point->lru_error;
  told->belady_error = point->belady_error;
  return KVS_OK;
}

static kvs_status answer_fill(const struct kvi_sampler_report *report, Kvasir__V1__CurveReply *answer)
{
  const struct kvi_curve *curve = &report->curve;
  kvs_status status = KVS_OK;

  answer->capacity = report->capacity;
  answer->rate = report->rate;
  answer->samples = report->samples;
  answer->requests = curve->requests;
  answer->uses = curve->uses;
  answer->chunks = curve->chunks;
  answer->asked_tokens = curve->asked;
  answer->window_s = report->window_s;
  answer->counted_s = report->counted_s;
  answer->hit = curve->hit;
  answer->memory = curve->memory;
  answer->before = curve->before;
  answer->distinct_bytes = curve->distinct_bytes;
  answer->gain_error = curve->gain_error;
  answer->gap_error = curve->gap_error;
  answer->enough = report->enough;
  answer->left_out = report->left_out;
  answer->points = calloc(KVI_CURVE_POINTS, sizeof(Kvasir__V1__CurvePoint *));
  if (!answer->points)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < KVI_CURVE_POINTS && status == KVS_OK; i++)
    status = point_add(answer, report, i);
  return status;
}

kvs_status kvi_service_curve(struct kvi_store_service *service, const struct kvi_peer *peer,
                             const void *request, void *reply)
{
  Kvasir__V1__CurveReply *answer = reply;
  struct kvi_sampler_report report;
  kvs_status status = kvi_store_curve(service->config.store, AGE_NS, &report);

  (void)peer, (void)request;
  if (status == KVS_OK)
    return answer_fill(&report, answer);
  answer->status = status;
  return KVS_OK;
}

/* ---- statistics ---- */

static Kvasir__V1__Stat *stat_make(const char *labels, double value)
{
  Kvasir__V1__Stat *stat = malloc(sizeof(*stat));

  if (!stat)
    return NULL;
  kvasir__v1__stat__init(stat);
  stat->value = value;
  if (kvi_service_text_set(&stat->name, "kvasir_estimated_hit_ratio") == KVS_OK &&
      kvi_service_text_set(&stat->help, HELP) == KVS_OK &&
      kvi_service_text_set(&stat->labels, labels) == KVS_OK)
    return stat;
  protobuf_c_message_free_unpacked(&stat->base, NULL);
  return NULL;
}

bool kvi_service_curve_stats(struct kvi_store_service *service, Kvasir__V1__StatsReply *reply)
{
  static const char *const labels[] = {"of=\"node\"", "of=\"lru\"", "of=\"belady\"", "of=\"lru_more\""};
  const size_t n = sizeof(labels) / sizeof(labels[0]);
  struct kvi_sampler_report report;
  Kvasir__V1__Stat **stats;

  if (kvi_store_curve(service->config.store, STATS_AGE_NS, &report) != KVS_OK)
    return true;
  stats = realloc(reply->stats, (reply->n_stats + n) * sizeof(Kvasir__V1__Stat *));
  if (!stats)
    return false;
  reply->stats = stats;
  for (size_t i = 0; i < n; i++) {
    const double values[] = {report.curve.memory, report.curve.points[KVI_CURVE_OWN].lru,
                             report.curve.points[KVI_CURVE_OWN].belady,
                             report.curve.points[KVI_CURVE_MORE].lru};

    stats[reply->n_stats] = stat_make(labels[i], report.enough ? values[i] : NAN);
    if (!stats[reply->n_stats])
      return false;
    reply->n_stats++;
  }
  return true;
}
