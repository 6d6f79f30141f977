/* proto/local/transfer.c: one chunk of a transfer, from the service's memory to the caller's or back. */
#include "base/clock.h"
#include "base/log.h"
#include "proto/limits.h"
#include "proto/local/copy.h"
#include "proto/local/local_private.h"

/* A source that was opened, and where it goes. */
struct copy {
  struct kvi_source source;
  const struct kvi_iov *iov;
  uint32_t n_iov;
};

static kvs_status check_put_chunk(const struct kvi_transfer_chunk *chunk)
{
  uint64_t sum = 0;

  if (chunk->length == 0 || chunk->n_segments == 0 || chunk->segment_lengths == NULL)
    return KVS_ERR_INVALID;
  if (chunk->n_segments > KVI_SEGMENTS_MAX)
    return KVS_ERR_TOO_LARGE;
  if (kvi_quality_coding(chunk->quality) > KVI_CODING_KVC1)
    return KVS_ERR_INVALID;
  for (uint32_t i = 0; i < chunk->n_segments; i++) {
    if (chunk->segment_lengths[i] == 0)
      return KVS_ERR_INVALID;
    sum += chunk->segment_lengths[i];
  }
  for (uint32_t i = 0; i < chunk->n_iov; i++) {
    if (chunk->iov[i].base == NULL)
      return KVS_ERR_INVALID;
  }
  return sum == chunk->length ? KVS_OK : KVS_ERR_INVALID;
}

kvs_status kvi_local_transfer_check(const struct kvi_transfer *transfer,
                                    const struct kvi_service_limits *limits)
{
  if (transfer->n_chunks == 0 || transfer->chunks == NULL || transfer->keys == NULL ||
      transfer->space == NULL || transfer->on_done == NULL || transfer->loss_max > KVI_LOSS_MAX ||
      transfer->loss_enough > KVI_LOSS_MAX)
    return KVS_ERR_INVALID;
  if (transfer->n_chunks > limits->batch_chunks_max)
    return KVS_ERR_TOO_LARGE;
  if (transfer->key_length < 8 || transfer->key_length > 64)
    return KVS_ERR_KEY_LENGTH;
  for (uint32_t i = 0; i < transfer->n_chunks; i++) {
    const struct kvi_transfer_chunk *chunk = &transfer->chunks[i];
    kvs_status status;

    if (chunk->n_iov > 0 && chunk->iov == NULL)
      return KVS_ERR_INVALID;
    if (kvi_local_iov_length(chunk->iov, chunk->n_iov) != chunk->length)
      return KVS_ERR_INVALID;
    if (!transfer->put)
      continue;
    if (chunk->length > limits->chunk_bytes_max)
      return KVS_ERR_TOO_LARGE;
    status = check_put_chunk(chunk);
    if (status != KVS_OK)
      return status;
  }
  return KVS_OK;
}

kvs_status kvi_local_run_stopped(struct local_run *run)
{
  /* relaxed: what matters is that it is seen within a segment or so, not what was written before it */
  kvs_status stop = (kvs_status)atomic_load_explicit(&run->stop, memory_order_relaxed);

  if (stop != KVS_OK)
    return stop;
  return kvi_now_ns() >= run->transfer->deadline_ns ? KVS_ERR_DEADLINE : KVS_OK;
}

static const uint8_t *chunk_key(const struct kvi_transfer *transfer, uint32_t index)
{
  return transfer->keys + (size_t)index * transfer->key_length;
}

/* Copies and verifies segment after segment, telling each. */
static kvs_status get_segments(struct local_run *run, uint32_t index, const struct copy *copy)
{
  const struct kvi_source *source = &copy->source;
  struct kvi_transfer *transfer = run->transfer;
  struct kvi_transfer_chunk *chunk = &transfer->chunks[index];
  struct local_cursor to = kvi_local_cursor(copy->iov, copy->n_iov);
  struct local_cursor from = kvi_local_cursor(source->iov, source->n_iov);

  for (uint32_t i = 0; i < source->table.n_segments; i++) {
    struct kvi_segment segment = kvi_chunk_table_segment(&source->table, i);
    kvs_status stopped = kvi_local_run_stopped(run);

    if (stopped != KVS_OK)
      return stopped;
    if (kvi_local_cursor_in_hole(&to, segment.length)) {
      kvi_local_cursor_skip(&to, segment.length);
      kvi_local_cursor_skip(&from, segment.length);
    } else if (kvi_local_copy(&to, &from, segment.length) != segment.crc32c) {
      kvi_log_limited(KVI_LOG_ERROR, "segment %u of a stored chunk does not fit its checksum: a miss", i);
      chunk->cause = KVI_MISS_CORRUPT;
      return KVS_MISS;
    }
    chunk->verified += segment.length;
    if (transfer->on_segments != NULL)
      transfer->on_segments(transfer, index, i + 1);
  }
  return KVS_OK;
}

/* A wait's end, should it come: kept for who asks get_unwait. */
static void note_end(struct kvi_get_wait *wait, kvs_status status, uint32_t cause)
{
  (void)cause;
  *(kvs_status *)wait->user = status;
}

/* get_open; what would have to be waited for is refused: the embedded store has no tier that is slower than memory. */
static kvs_status open_source(struct local_run *run, uint32_t index, struct kvi_source *source_p,
                              uint32_t *cause_p)
{
  const struct kvi_service *service = run->wire->service;
  const struct kvi_transfer *transfer = run->transfer;
  kvs_status came = KVS_PENDING;
  struct kvi_get_wait wait = {
      .terms = {.codings = transfer->on_coded != NULL ? 1u << KVI_CODING_KVC1 : 0,
                .loss_max = transfer->loss_max,
                .loss_enough = transfer->loss_enough,
                .bytes_enough = transfer->bytes_enough},
      .done = note_end,
      .user = &came,
  };
  kvs_status status =
      service->ops->get_open(service->self, &run->wire->peer, transfer->space, chunk_key(transfer, index),
                             transfer->key_length, &wait, source_p, cause_p);

  if (status != KVS_PENDING)
    return status;
  if (!service->ops->get_unwait(service->self, &wait) && came == KVS_OK)
    service->ops->get_close(service->self, &wait.source);
  return KVS_ERR_UNSUPPORTED;
}

/* Where an opened chunk goes. Else how it ends. */
static kvs_status place_chunk(struct local_run *run, uint32_t index, struct copy *copy, uint32_t *cause_p)
{
  struct kvi_transfer *transfer = run->transfer;
  struct kvi_transfer_chunk *chunk = &transfer->chunks[index];
  const struct kvi_chunk_table *table = &copy->source.table;
  uint64_t room = chunk->length;
  kvs_status status =
      kvi_transfer_place(transfer, index, table->quality, table->length, &copy->iov, &copy->n_iov, cause_p);

  if (status == KVS_OK && kvi_quality_coding(table->quality) == KVI_CODING_NONE && table->length > room)
    return KVS_ERR_BUFFER;
  return status;
}

kvs_status kvi_local_get_chunk(struct local_run *run, uint32_t index)
{
  const struct kvi_service *service = run->wire->service;
  struct kvi_transfer_chunk *chunk = &run->transfer->chunks[index];
  struct copy copy;
  uint32_t cause = KVI_MISS_NONE;
  kvs_status status = open_source(run, index, &copy.source, &cause);

  if (status != KVS_OK) {
    chunk->cause = status == KVS_MISS ? cause : KVI_MISS_NONE;
    return status;
  }
  status = place_chunk(run, index, &copy, &cause);
  chunk->cause = cause;
  if (status == KVS_OK) {
    chunk->n_segments = copy.source.table.n_segments;
    chunk->length = copy.source.table.length;
    chunk->verified = 0;
    status = get_segments(run, index, &copy);
  }
  service->ops->get_close(service->self, &copy.source);
  return status;
}

static struct kvi_put_request put_request(const struct kvi_transfer *transfer, uint32_t index)
{
  const struct kvi_transfer_chunk *chunk = &transfer->chunks[index];
  const struct kvi_chain *chain = &transfer->chain;

  return (struct kvi_put_request){
      .space = transfer->space,
      .key = chunk_key(transfer, index),
      .key_length = transfer->key_length,
      .parent = chain->unchained ? NULL
                : index > 0      ? chunk_key(transfer, index - 1)
                                 : chain->parent,
      .place = chain->unchained ? 0 : chain->first_place + index,
      .unchained = chain->unchained,
      .length = chunk->length,
      .n_segments = chunk->n_segments,
      .segment_lengths = chunk->segment_lengths,
      .ttl_ms = transfer->ttl_ms,
      .quality = chunk->quality,
      .chain_chunks = transfer->chain_chunks,
      .behind = chunk_key(transfer, index) + transfer->key_length,
      .n_behind = chain->unchained ? 0 : transfer->n_chunks - index - 1,
  };
}

/* Copies into the landing and fills its checksums. */
static kvs_status put_segments(struct local_run *run, uint32_t index, struct kvi_landing *landing)
{
  const struct kvi_transfer_chunk *chunk = &run->transfer->chunks[index];
  struct local_cursor to = kvi_local_cursor(landing->iov, landing->n_iov);
  struct local_cursor from = kvi_local_cursor(chunk->iov, chunk->n_iov);

  for (uint32_t i = 0; i < landing->n_segments; i++) {
    kvs_status stopped = kvi_local_run_stopped(run);

    if (stopped != KVS_OK)
      return stopped;
    landing->segments[i].crc32c = kvi_local_copy(&to, &from, landing->segments[i].length);
  }
  return KVS_OK;
}

/* For a put that has no place to wait: answered and forgotten in one breath. */
static void answer_to_nobody(void *ctx, kvs_status status)
{
  (void)ctx;
  (void)status;
}

kvs_status kvi_local_put_chunk(struct local_run *run, uint32_t index, struct local_wait *wait)
{
  const struct kvi_service *service = run->wire->service;
  struct kvi_put_request request = put_request(run->transfer, index);
  struct kvi_landing landing;
  kvs_status status;
  char nobody; /* its address names the wait to put_unwait */

  if (wait != NULL)
    status = service->ops->put_begin(service->self, &run->wire->peer, &request, kvi_local_wait_answer, wait,
                                     &landing);
  else
    status = service->ops->put_begin(service->self, &run->wire->peer, &request, answer_to_nobody, &nobody,
                                     &landing);
  if (status == KVS_PENDING && wait == NULL)
    service->ops->put_unwait(service->self, &nobody);
  if (status != KVS_OK)
    return status;
  status = put_segments(run, index, &landing);
  if (status != KVS_OK) {
    service->ops->put_abort(service->self, &landing);
    return status;
  }
  return service->ops->put_commit(service->self, &landing);
}

void kvi_local_chunk_end(struct local_run *run, uint32_t index, kvs_status status)
{
  struct kvi_transfer *transfer = run->transfer;

  transfer->chunks[index].status = status;
  if (transfer->on_chunk != NULL)
    transfer->on_chunk(transfer, index);
}

void kvi_local_run_done(struct kvi_transfer *transfer, kvs_status stopped)
{
  uint32_t good = 0;
  kvs_status first_bad = KVS_OK;
  kvs_status status;

  for (uint32_t i = 0; i < transfer->n_chunks; i++) {
    kvs_status chunk = transfer->chunks[i].status;

    if (chunk == KVS_OK || chunk == KVS_EXISTS)
      good++;
    else if (kvi_says_more(first_bad, chunk))
      first_bad = chunk;
  }
  if (good == transfer->n_chunks)
    status = KVS_OK;
  else if (stopped != KVS_OK)
    status = stopped;
  else
    status = good > 0 ? KVS_PARTIAL : first_bad;
  transfer->on_done(transfer, status);
}
