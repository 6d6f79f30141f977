/* tiers/less.c: coded chunks are handed to readers who want less without their last planes. */
#include <stdlib.h>
#include <string.h>

#include "proto/coded.h"
#include "tiers/store_private.h"

#define HEAD_MAX         (256u << 10) /* an honest segment 0 is no longer: two tables and a header */
#define OBJECT_ALIGNMENT 8u           /* as kvi_coded_open wants it */

/* Whether of so many bytes some are to be left out, if the loss is `loss` then. */
static bool is_too_much(const struct kvi_get_terms *terms, uint64_t length, uint32_t loss)
{
  return loss <= terms->loss_max &&
         (loss <= terms->loss_enough || (terms->bytes_enough > 0 && length > terms->bytes_enough));
}

/* The first `size` bytes in one piece: where they lie, or copied to *copy_p, which is to be freed. NULL: no memory. */
static const uint8_t *head_of(const struct kvi_source *source, uint32_t size, uint8_t **copy_p)
{
  uint8_t *copy;
  uint32_t at = 0;

  *copy_p = NULL;
  if (source->iov[0].length >= size && (uintptr_t)source->iov[0].base % OBJECT_ALIGNMENT == 0)
    return source->iov[0].base;
  *copy_p = copy = malloc(size);
  for (uint32_t i = 0; copy && i < source->n_iov && at < size; i++) {
    size_t run = source->iov[i].length < size - at ? source->iov[i].length : size - at;

    memcpy(copy + at, source->iov[i].base, run);
    at += (uint32_t)run;
  }
  return copy;
}

/* Makes the table that of what is left. Returns how many planes are not. */
static uint32_t planes_cut(const struct kvi_get_terms *terms, struct kvi_coded *coded, const uint8_t *head,
                           struct kvi_chunk_table *table)
{
  struct kvi_coded_rest rest;
  uint32_t n = 0;

  /* Whether it is wanted comes first: the rest is made by going through the tables. */
  while (coded->planes > 0 && is_too_much(terms, table->length, kvi_coded_cut_loss(coded, table->quality)) &&
         kvi_coded_cut(coded, head, table->quality, terms->loss_max, &rest) &&
         kvi_coded_rest_fits(table, &rest)) {
    table->length = rest.length;
    table->n_segments = rest.n_segments;
    table->quality = rest.quality;
    coded->planes--;
    n++;
  }
  return n;
}

void kvi_source_lessen(struct kvi_store *store, const struct kvi_get_terms *terms, struct kvi_source *source)
{
  struct kvi_chunk_table left = source->table;
  struct kvi_coded coded;
  const uint8_t *head;
  uint8_t *copy;
  uint32_t size, n = 0;

  source->left_out_bytes = source->left_out_planes = 0;
  if (!terms || kvi_quality_coding(left.quality) != KVI_CODING_KVC1 ||
      !is_too_much(terms, left.length, kvi_quality_loss(left.quality) + 1))
    return;
  size = kvi_chunk_table_segment(&source->table, 0).length;
  if (size > HEAD_MAX)
    return;
  head = head_of(source, size, &copy);
  /* What does not open is sent as it is: its reader finds out what is wrong. */
  if (head && kvi_coded_open(head, size, source->table.length, &coded) == KVS_OK)
    n = planes_cut(terms, &coded, head, &left);
  free(copy);
  if (n == 0)
    return;
  source->left_out_bytes = source->table.length - left.length;
  source->left_out_planes = n;
  source->table = left;
  pthread_mutex_lock(&store->lock);
  store->stats.get_bytes -= source->left_out_bytes;
  store->stats.left_out_bytes += source->left_out_bytes;
  store->stats.left_out_planes += n;
  pthread_mutex_unlock(&store->lock);
}
