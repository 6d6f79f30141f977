/* tiers/service_stats.c: counters under the names that Prometheus likes: one row of the table for each. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/service_private.h"

enum kind { GAUGE = 0, COUNTER = 1 }; /* Stat.kind */

/* All that rows take their values from. */
struct values {
  struct kvi_store_stats store;
  struct kvi_shared_stats shared; /* these two all 0 without one */
  struct kvi_medium_stats shared_medium;
  struct kvi_programs_stats programs;
  struct kvi_decoder_stats decoder; /* all 0 without one */
  uint64_t hints[KVI_HINT_OUTCOMES];
};

struct row {
  const char *name, *labels, *help;
  enum kind kind;
  size_t offset; /* of a uint64_t in struct values */
  double unit;   /* what one of it is: Prometheus wants seconds */
};

#define VALUE(field)         offsetof(struct values, field), 1
#define VALUE_US(field)      offsetof(struct values, field), 1e-6
#define VALUE_NS(field)      offsetof(struct values, field), 1e-9
#define STORE(field)         VALUE(store.field)
#define SHARED(field)        VALUE(shared.field)
#define SHARED_MEDIUM(field) VALUE(shared_medium.field)
#define DECODER(field)       VALUE(decoder.field)
#define REDIS                "tier=\"redis\""
#define DRAM                 "tier=\"dram\""
#define SSD                  "tier=\"ssd\""
#define MEDIUM(field)        VALUE(store.medium.field)
#define HELP_MISSES                                                                                          \
  "Gets that found nothing, by cause (evicted, expired, closed, quota, deleted and corrupt are "             \
  "approximate: "                                                                                            \
  "remembered for a while)."

#define HELP_HITS "Gets that found their chunk, by the tier it came from."
#define HELP_DEMOTIONS                                                                                       \
  "Chunks that left memory and stayed in the tier: for room, or ahead of that at the high mark."
#define HELP_EVICTIONS                                                                                       \
  "Chunks evicted from the node that were in this tier, and in none below: for room, for an entry of the "   \
  "index, because an operator asked, for others of its tenant, which has a bound, or for room or an entry "  \
  "and since its program has ended."

#define HELP_ENCODED "Chunks that were encoded on their way to the tier; in memory, after they were put."
#define HELP_UNENCODED                                                                                       \
  "Chunks that went to the tier as they were, though it has a codec: too many waited, or it would hardly "   \
  "have been smaller; in memory also: there was no room for the coded form beside the other."

#define HELP_CUT                                                                                             \
  "Chunks that lost a plane, as their owner allows, to make room: in memory, or of those written again on "  \
  "SSD."
#define HELP_CUT_BYTES "Bytes that this saved."

#define HELP_REFUSED                                                                                         \
  "Coded chunks that were not decoded: too many waited, it was not the chunk (dropped), or it could not be " \
  "(a version of the codec that is not known, no memory)."

static const struct row rows[] = {
    {"kvasir_lookups_total", "", "Lookups answered.", COUNTER, STORE(lookups)},
    {"kvasir_lookup_keys_total", "", "Keys asked for by lookups.", COUNTER, STORE(lookup_keys)},
    {"kvasir_lookup_hit_keys_total", "", "Keys that every space of their lookup had.", COUNTER,
     STORE(lookup_hit_keys)},
    {"kvasir_gets_total", "", "Chunks asked for by gets.", COUNTER, STORE(gets)},
    {"kvasir_get_hits_total", "", "Chunks that gets found.", COUNTER, STORE(get_hits)},
    {"kvasir_get_bytes_total", "", "Payload bytes of the chunks that gets found.", COUNTER, STORE(get_bytes)},
    {"kvasir_get_left_out_planes_total", "", "Planes of coded chunks that gets did not want.", COUNTER,
     STORE(left_out_planes)},
    {"kvasir_get_left_out_bytes_total", "", "Bytes of those planes.", COUNTER, STORE(left_out_bytes)},
    {"kvasir_get_misses_total", "cause=\"never\"", HELP_MISSES, COUNTER, STORE(get_misses[KVI_MISS_NEVER])},
    {"kvasir_get_misses_total", "cause=\"evicted\"", HELP_MISSES, COUNTER,
     STORE(get_misses[KVI_MISS_EVICTED])},
    {"kvasir_get_misses_total", "cause=\"deleted\"", HELP_MISSES, COUNTER,
     STORE(get_misses[KVI_MISS_DELETED])},
    {"kvasir_get_misses_total", "cause=\"space\"", HELP_MISSES, COUNTER, STORE(get_misses[KVI_MISS_SPACE])},
    {"kvasir_get_misses_total", "cause=\"quality\"", HELP_MISSES, COUNTER,
     STORE(get_misses[KVI_MISS_QUALITY])},
    {"kvasir_get_misses_total", "cause=\"tier\"", HELP_MISSES, COUNTER, STORE(get_misses[KVI_MISS_TIER])},
    {"kvasir_get_misses_total", "cause=\"corrupt\"", HELP_MISSES, COUNTER,
     STORE(get_misses[KVI_MISS_CORRUPT])},
    {"kvasir_get_misses_total", "cause=\"other_space\"", HELP_MISSES, COUNTER,
     STORE(get_misses[KVI_MISS_ELSEWHERE])},
    {"kvasir_get_misses_total", "cause=\"declined\"", HELP_MISSES, COUNTER,
     STORE(get_misses[KVI_MISS_DECLINED])},
    {"kvasir_get_misses_total", "cause=\"closed\"", HELP_MISSES, COUNTER, STORE(get_misses[KVI_MISS_CLOSED])},
    {"kvasir_get_misses_total", "cause=\"quota\"", HELP_MISSES, COUNTER, STORE(get_misses[KVI_MISS_QUOTA])},
    {"kvasir_get_misses_total", "cause=\"expired\"", HELP_MISSES, COUNTER,
     STORE(get_misses[KVI_MISS_EXPIRED])},
    {"kvasir_puts_total", "", "Chunks offered by puts.", COUNTER, STORE(puts)},
    {"kvasir_put_exists_total", "", "Puts of chunks that were stored already.", COUNTER, STORE(put_exists)},
    {"kvasir_put_pending_total", "", "Puts that met an equal one in flight.", COUNTER, STORE(put_pending)},
    {"kvasir_put_commits_total", "", "Chunks stored.", COUNTER, STORE(put_commits)},
    {"kvasir_put_aborts_total", "", "Puts that stopped half way.", COUNTER, STORE(put_aborts)},
    {"kvasir_put_refused_total", "", "Puts refused: no room, a bound, or a bad request.", COUNTER,
     STORE(put_refused)},
    {"kvasir_put_declined_total", "",
     "Chunks not stored, since what would have had to go was worth more (store.admission).", COUNTER,
     STORE(put_declined)},
    {"kvasir_put_declined_bytes_total", "", "Payload bytes of them.", COUNTER, STORE(put_declined_bytes)},
    {"kvasir_put_bytes_total", "", "Payload bytes stored.", COUNTER, STORE(put_bytes)},
    {"kvasir_evictions_total", "", "Chunks evicted.", COUNTER, STORE(evictions)},
    {"kvasir_evicted_bytes_total", "", "Payload bytes of evicted chunks.", COUNTER, STORE(evicted_bytes)},
    {"kvasir_deletes_total", "", "Chunks deleted on request.", COUNTER, STORE(deletes)},
    {"kvasir_corrupt_chunks_total", "", "Chunks dropped because of a checksum.", COUNTER, STORE(corrupt)},
    {"kvasir_leases_granted_total", "", "Leases granted.", COUNTER, STORE(leases_granted)},
    {"kvasir_leases_expired_total", "", "Leases that ran out.", COUNTER, STORE(leases_expired)},
    {"kvasir_leases_refused_total", "", "Leases refused at a bound.", COUNTER, STORE(leases_refused)},
    {"kvasir_chunks", "", "Chunks stored now.", GAUGE, STORE(chunks)},
    {"kvasir_spaces", "", "Spaces known.", GAUGE, STORE(spaces)},
    {"kvasir_leases", "", "Leases now.", GAUGE, STORE(leases)},
    {"kvasir_landings", "", "Puts in flight now.", GAUGE, STORE(landings)},
    {"kvasir_index_bytes", "", "Memory of the index, the policy included.", GAUGE, STORE(index_bytes)},
    {"kvasir_index_bytes_per_chunk", "", "The same for each chunk it has room for.", GAUGE,
     STORE(index_bytes_per_chunk)},
    {"kvasir_tier_used_bytes", DRAM, "Room taken, rounding included.", GAUGE, STORE(dram.used_bytes)},
    {"kvasir_tier_free_bytes", DRAM, "Room left.", GAUGE, STORE(dram.free_bytes)},
    {"kvasir_tier_payload_bytes", DRAM, "Payload stored.", GAUGE, STORE(dram.payload_bytes)},
    {"kvasir_tier_zombie_bytes", DRAM, "Room of chunks that are gone but still being read.", GAUGE,
     STORE(dram.zombie_bytes)},
    {"kvasir_tier_metadata_bytes", DRAM, "The tier's own bookkeeping.", GAUGE, STORE(dram.metadata_bytes)},
    {"kvasir_tier_objects", DRAM, "Objects in the tier.", GAUGE, STORE(dram.objects)},
    {"kvasir_tier_hits_total", DRAM, HELP_HITS, COUNTER, STORE(tier_hits[KVI_TIER_DRAM])},
    {"kvasir_tier_read_bytes_per_second", DRAM, "Measured at start.", GAUGE, STORE(dram_bytes_per_s)},
    {"kvasir_tier_evictions_total", "tier=\"dram\",rule=\"room\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[0][KVI_EVICT_ROOM])},
    {"kvasir_tier_evictions_total", "tier=\"dram\",rule=\"index\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[0][KVI_EVICT_INDEX])},
    {"kvasir_tier_evictions_total", "tier=\"dram\",rule=\"asked\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[0][KVI_EVICT_ASKED])},
    {"kvasir_tier_evictions_total", "tier=\"dram\",rule=\"quota\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[0][KVI_EVICT_QUOTA])},
    {"kvasir_tier_evictions_total", "tier=\"dram\",rule=\"closed\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[0][KVI_EVICT_CLOSED])},
    {"kvasir_tier_encode_queue", DRAM, "Chunks that wait to be encoded, or are.", GAUGE, STORE(coding)},
    {"kvasir_tier_encoded_chunks_total", DRAM, HELP_ENCODED, COUNTER, STORE(coded_chunks)},
    {"kvasir_tier_encoded_raw_bytes_total", DRAM, "Bytes of encoded chunks before.", COUNTER,
     STORE(coded_raw_bytes)},
    {"kvasir_tier_encoded_bytes_total", DRAM, "Bytes of encoded chunks after.", COUNTER, STORE(coded_bytes)},
    {"kvasir_tier_encode_seconds_total", DRAM, "Time that encoding took, of all its threads.", COUNTER,
     VALUE_NS(store.code_ns)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"dram\",cause=\"busy\"", HELP_UNENCODED, COUNTER,
     STORE(uncoded_busy)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"dram\",cause=\"larger\"", HELP_UNENCODED, COUNTER,
     STORE(uncoded_larger)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"dram\",cause=\"full\"", HELP_UNENCODED, COUNTER,
     STORE(uncoded_full)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"dram\",cause=\"failed\"", HELP_UNENCODED, COUNTER,
     STORE(uncoded_failed)},
    {"kvasir_tier_cut_chunks_total", DRAM, HELP_CUT, COUNTER, STORE(cut_chunks)},
    {"kvasir_tier_cut_bytes_total", DRAM, HELP_CUT_BYTES, COUNTER, STORE(cut_bytes)},
    /* a node without an SSD tier says 0 to all of these */
    {"kvasir_tier_capacity_bytes", SSD, "Room of the tier, its hard bound.", GAUGE, MEDIUM(capacity_bytes)},
    {"kvasir_tier_used_bytes", SSD, "Room taken, rounding included.", GAUGE, MEDIUM(live_bytes)},
    {"kvasir_tier_objects", SSD, "Objects in the tier.", GAUGE, MEDIUM(objects)},
    {"kvasir_tier_metadata_bytes", SSD, "The tier's own bookkeeping.", GAUGE, MEDIUM(metadata_bytes)},
    {"kvasir_tier_only_objects", SSD, "Objects that are in no faster tier.", GAUGE, STORE(medium_only)},
    {"kvasir_tier_devices", SSD, "Directories or connections of the tier.", GAUGE, MEDIUM(devices)},
    {"kvasir_tier_devices_failed", SSD, "Those that are out.", GAUGE, MEDIUM(devices_failed)},
    {"kvasir_tier_devices_read_only", SSD, "Those that are read, and take nothing more.", GAUGE,
     MEDIUM(devices_read_only)},
    {"kvasir_tier_operations", SSD, "Reads and writes in the tier now.", GAUGE, MEDIUM(queued)},
    {"kvasir_tier_write_queue", SSD, "Chunks that wait to be written to the tier.", GAUGE,
     STORE(writes_queued)},
    {"kvasir_tier_read_bytes_per_second", SSD, "Measured while reading, a decaying average.", GAUGE,
     MEDIUM(read_bytes_per_s)},
    {"kvasir_tier_read_latency_seconds", SSD, "Time of one read, a decaying average.", GAUGE,
     VALUE_US(store.medium.read_latency_us)},
    {"kvasir_tier_write_bytes_per_second", SSD, "Measured while writing, a decaying average.", GAUGE,
     MEDIUM(write_bytes_per_s)},
    {"kvasir_tier_read_queue_bytes", SSD, "Bytes of the reads in the tier now.", GAUGE,
     MEDIUM(queued_get_bytes)},
    {"kvasir_tier_puts_total", SSD, "Chunks written to the tier.", COUNTER, MEDIUM(puts)},
    {"kvasir_tier_put_bytes_total", SSD, "Payload bytes written to the tier.", COUNTER, MEDIUM(put_bytes)},
    {"kvasir_tier_put_failures_total", "tier=\"ssd\",cause=\"full\"", "Chunks that the tier did not take.",
     COUNTER, MEDIUM(put_full)},
    {"kvasir_tier_put_failures_total", "tier=\"ssd\",cause=\"device\"", "Chunks that the tier did not take.",
     COUNTER, MEDIUM(put_errors)},
    {"kvasir_tier_put_failures_total", "tier=\"ssd\",cause=\"shed\"", "Chunks that the tier did not take.",
     COUNTER, STORE(writes_shed)},
    {"kvasir_tier_put_failures_total", "tier=\"ssd\",cause=\"evicted\"", "Chunks that the tier did not take.",
     COUNTER, STORE(writes_lost)},
    {"kvasir_tier_put_failures_total", "tier=\"ssd\",cause=\"budget\"", "Chunks that the tier did not take.",
     COUNTER, STORE(writes_over_budget)},
    {"kvasir_tier_put_off_total", SSD, "Chunks that are to be written once they are used.", COUNTER,
     STORE(writes_put_off)},
    {"kvasir_tier_hits_total", SSD, HELP_HITS, COUNTER, STORE(tier_hits[KVI_TIER_SSD])},
    {"kvasir_tier_gets_total", SSD, "Chunks read from the tier.", COUNTER, MEDIUM(gets)},
    {"kvasir_tier_get_bytes_total", SSD, "Bytes read from the tier.", COUNTER, MEDIUM(get_bytes)},
    {"kvasir_tier_get_failures_total", "tier=\"ssd\",cause=\"missing\"", "Reads that gave no chunk.", COUNTER,
     MEDIUM(get_misses)},
    {"kvasir_tier_get_failures_total", "tier=\"ssd\",cause=\"device\"", "Reads that gave no chunk.", COUNTER,
     MEDIUM(get_errors)},
    {"kvasir_tier_get_failures_total", "tier=\"ssd\",cause=\"corrupt\"", "Reads that gave no chunk.", COUNTER,
     MEDIUM(corrupt)},
    {"kvasir_tier_get_failures_total", "tier=\"ssd\",cause=\"deadline\"", "Reads that gave no chunk.",
     COUNTER, MEDIUM(deadlines)},
    {"kvasir_tier_get_failures_total", "tier=\"ssd\",cause=\"busy\"", "Reads that gave no chunk.", COUNTER,
     STORE(fetch_refused)},
    {"kvasir_tier_fetches_total", SSD, "Reads started for gets.", COUNTER, STORE(fetches)},
    {"kvasir_tier_fetch_joins_total", SSD, "Gets that waited for another's read.", COUNTER,
     STORE(fetch_joins)},
    {"kvasir_tier_fetches_ahead_total", SSD, "Reads started before their get came.", COUNTER,
     STORE(fetches_ahead)},
    {"kvasir_tier_prefetched_total", SSD, "Chunks read ahead of a return that the policy expected.", COUNTER,
     STORE(prefetched)},
    {"kvasir_tier_prefetched_bytes_total", SSD, "Bytes of them.", COUNTER, STORE(prefetched_bytes)},
    {"kvasir_tier_prefetched_used_total", SSD, "Of them, got from memory since, or while they were read.",
     COUNTER, STORE(prefetched_used)},
    {"kvasir_tier_prefetched_wasted_total", SSD, "Of them, that left memory before anybody got them.",
     COUNTER, STORE(prefetched_wasted)},
    {"kvasir_tier_promotions_total", SSD, "Chunks that came from the tier to memory.", COUNTER,
     STORE(promotions)},
    {"kvasir_tier_demotions_total", "tier=\"ssd\",rule=\"room\"", HELP_DEMOTIONS, COUNTER,
     STORE(demotions_by[KVI_DEMOTE_ROOM])},
    {"kvasir_tier_demotions_total", "tier=\"ssd\",rule=\"mark\"", HELP_DEMOTIONS, COUNTER,
     STORE(demotions_by[KVI_DEMOTE_MARK])},
    {"kvasir_tier_evictions_total", "tier=\"ssd\",rule=\"room\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[1][KVI_EVICT_ROOM])},
    {"kvasir_tier_evictions_total", "tier=\"ssd\",rule=\"index\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[1][KVI_EVICT_INDEX])},
    {"kvasir_tier_evictions_total", "tier=\"ssd\",rule=\"asked\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[1][KVI_EVICT_ASKED])},
    {"kvasir_tier_evictions_total", "tier=\"ssd\",rule=\"quota\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[1][KVI_EVICT_QUOTA])},
    {"kvasir_tier_evictions_total", "tier=\"ssd\",rule=\"closed\"", HELP_EVICTIONS, COUNTER,
     STORE(evictions_by[1][KVI_EVICT_CLOSED])},
    {"kvasir_tier_evicted_bytes_total", SSD, "Payload bytes of these.", COUNTER, STORE(medium_evicted_bytes)},
    {"kvasir_tier_lost_total", SSD, "Chunks whose copy could not be read, or whose device has failed.",
     COUNTER, STORE(medium_lost)},
    {"kvasir_tier_copied_chunks_total", SSD, "Chunks written again to free a log file.", COUNTER,
     MEDIUM(copied_chunks)},
    {"kvasir_tier_copied_bytes_total", SSD, "Bytes of these.", COUNTER, MEDIUM(copied_bytes)},
    {"kvasir_tier_cut_chunks_total", SSD, HELP_CUT, COUNTER, MEDIUM(cut_chunks)},
    {"kvasir_tier_cut_bytes_total", SSD, HELP_CUT_BYTES, COUNTER, MEDIUM(cut_bytes)},
    {"kvasir_tier_reclaims_total", SSD, "Log files freed.", COUNTER, MEDIUM(reclaims)},
    {"kvasir_tier_encoded_chunks_total", SSD, HELP_ENCODED, COUNTER, MEDIUM(encoded_chunks)},
    {"kvasir_tier_encoded_raw_bytes_total", SSD, "Bytes of encoded chunks before.", COUNTER,
     MEDIUM(encoded_raw_bytes)},
    {"kvasir_tier_encoded_bytes_total", SSD, "Bytes of encoded chunks after.", COUNTER,
     MEDIUM(encoded_bytes)},
    {"kvasir_tier_encode_seconds_total", SSD, "Time that encoding took, of all its threads.", COUNTER,
     VALUE_NS(store.medium.encode_ns)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"ssd\",cause=\"busy\"", HELP_UNENCODED, COUNTER,
     MEDIUM(unencoded_busy)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"ssd\",cause=\"larger\"", HELP_UNENCODED, COUNTER,
     MEDIUM(unencoded_larger)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"ssd\",cause=\"failed\"", HELP_UNENCODED, COUNTER,
     MEDIUM(unencoded_failed)},
    {"kvasir_tier_scrubbed_bytes_total", SSD, "Bytes read to look for damage.", COUNTER,
     MEDIUM(scrubbed_bytes)},
    {"kvasir_tier_device_errors_total", SSD, "Reads, writes and syncs that the device failed.", COUNTER,
     MEDIUM(device_errors)},
    {"kvasir_tier_recovered_objects", SSD, "Chunks found at start.", GAUGE, MEDIUM(recovered_chunks)},
    {"kvasir_tier_recovered_bytes", SSD, "Payload bytes of these.", GAUGE, MEDIUM(recovered_bytes)},
    {"kvasir_tier_recovery_read_bytes", SSD, "Bytes read to find them.", GAUGE, MEDIUM(recovery_read_bytes)},
    {"kvasir_tier_recovery_seconds", SSD, "How long that took.", GAUGE, VALUE_US(store.medium.recovery_us)},
    /* and one without Redis to these */
    {"kvasir_tier_devices", REDIS, "Directories or connections of the tier.", GAUGE, SHARED_MEDIUM(devices)},
    {"kvasir_tier_devices_failed", REDIS, "Those that are out.", GAUGE, SHARED_MEDIUM(devices_failed)},
    {"kvasir_tier_operations", REDIS, "Reads and writes in the tier now.", GAUGE, SHARED_MEDIUM(queued)},
    {"kvasir_tier_write_queue", REDIS, "Chunks that wait to be written to the tier.", GAUGE,
     SHARED(writes_queued)},
    {"kvasir_tier_read_bytes_per_second", REDIS, "Measured while reading, a decaying average.", GAUGE,
     SHARED_MEDIUM(read_bytes_per_s)},
    {"kvasir_tier_read_latency_seconds", REDIS, "Time of one read, a decaying average.", GAUGE,
     VALUE_US(shared.chunk_us)},
    {"kvasir_tier_write_bytes_per_second", REDIS, "Measured while writing, a decaying average.", GAUGE,
     SHARED(write_bytes_per_s)},
    {"kvasir_tier_device_errors_total", REDIS, "Connections that could not be made, or were lost.", COUNTER,
     SHARED_MEDIUM(device_errors)},
    {"kvasir_tier_puts_total", REDIS, "Chunks written to the tier.", COUNTER, SHARED(writes)},
    {"kvasir_tier_put_bytes_total", REDIS, "Payload bytes written to the tier.", COUNTER,
     SHARED(write_bytes)},
    {"kvasir_tier_put_failures_total", "tier=\"redis\",cause=\"full\"", "Chunks that the tier did not take.",
     COUNTER, SHARED(writes_full)},
    {"kvasir_tier_put_failures_total", "tier=\"redis\",cause=\"device\"",
     "Chunks that the tier did not take.", COUNTER, SHARED(writes_failed)},
    {"kvasir_tier_put_failures_total", "tier=\"redis\",cause=\"quota\"", "Chunks that the tier did not take.",
     COUNTER, SHARED(writes_over)},
    {"kvasir_tier_put_failures_total", "tier=\"redis\",cause=\"shed\"", "Chunks that the tier did not take.",
     COUNTER, SHARED(writes_shed)},
    {"kvasir_tier_put_failures_total", "tier=\"redis\",cause=\"evicted\"",
     "Chunks that the tier did not take.", COUNTER, SHARED(writes_lost)},
    {"kvasir_tier_encoded_chunks_total", REDIS, HELP_ENCODED, COUNTER, SHARED_MEDIUM(encoded_chunks)},
    {"kvasir_tier_encoded_raw_bytes_total", REDIS, "Bytes of encoded chunks before.", COUNTER,
     SHARED_MEDIUM(encoded_raw_bytes)},
    {"kvasir_tier_encoded_bytes_total", REDIS, "Bytes of encoded chunks after.", COUNTER,
     SHARED_MEDIUM(encoded_bytes)},
    {"kvasir_tier_encode_seconds_total", REDIS, "Time that encoding took, of all its threads.", COUNTER,
     VALUE_NS(shared_medium.encode_ns)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"redis\",cause=\"busy\"", HELP_UNENCODED, COUNTER,
     SHARED_MEDIUM(unencoded_busy)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"redis\",cause=\"larger\"", HELP_UNENCODED, COUNTER,
     SHARED_MEDIUM(unencoded_larger)},
    {"kvasir_tier_unencoded_chunks_total", "tier=\"redis\",cause=\"failed\"", HELP_UNENCODED, COUNTER,
     SHARED_MEDIUM(unencoded_failed)},
    {"kvasir_tier_put_off_total", REDIS, "Chunks that are to be written once they are used.", COUNTER,
     SHARED(puts_off)},
    {"kvasir_tier_removals_total", REDIS, "Chunks that were deleted and had to be removed from the tier.",
     COUNTER, SHARED(forgets)},
    {"kvasir_tier_removals_unconfirmed_total", REDIS,
     "Those that may still be there: the tier did not answer.", COUNTER, SHARED(forgets_unconfirmed)},
    {"kvasir_tier_hits_total", REDIS, HELP_HITS, COUNTER, STORE(tier_hits[KVI_TIER_REDIS])},
    {"kvasir_tier_gets_total", REDIS, "Chunks read from the tier.", COUNTER, SHARED(fetch_hits)},
    {"kvasir_tier_get_bytes_total", REDIS, "Bytes read from the tier.", COUNTER, SHARED(fetch_bytes)},
    {"kvasir_tier_get_failures_total", "tier=\"redis\",cause=\"missing\"", "Reads that gave no chunk.",
     COUNTER, SHARED(fetch_misses)},
    {"kvasir_tier_get_failures_total", "tier=\"redis\",cause=\"device\"", "Reads that gave no chunk.",
     COUNTER, SHARED(fetch_failed)},
    {"kvasir_tier_get_failures_total", "tier=\"redis\",cause=\"corrupt\"", "Reads that gave no chunk.",
     COUNTER, SHARED(fetch_corrupt)},
    {"kvasir_tier_get_failures_total", "tier=\"redis\",cause=\"room\"", "Reads that gave no chunk.", COUNTER,
     SHARED(fetch_no_room)},
    {"kvasir_tier_get_failures_total", "tier=\"redis\",cause=\"busy\"", "Reads that gave no chunk.", COUNTER,
     SHARED(fetch_refused)},
    {"kvasir_tier_fetches_total", REDIS, "Reads started for gets.", COUNTER, SHARED(fetches)},
    {"kvasir_tier_fetch_joins_total", REDIS, "Gets that waited for another's read.", COUNTER,
     SHARED(fetch_joins)},
    {"kvasir_tier_fetches_ahead_total", REDIS, "Reads started before their get came.", COUNTER,
     SHARED(fetches_ahead)},
    {"kvasir_tier_promotions_total", REDIS, "Chunks that came from the tier to memory.", COUNTER,
     SHARED(fetch_hits)},
    {"kvasir_tier_lookups_total", REDIS, "Lookups that asked the tier for what the node did not have.",
     COUNTER, SHARED(lookups)},
    {"kvasir_tier_lookup_keys_total", REDIS, "Keys they asked for.", COUNTER, SHARED(lookup_keys)},
    {"kvasir_tier_lookup_hit_keys_total", REDIS, "Of these, those that were there.", COUNTER,
     SHARED(lookup_hit_keys)},
    {"kvasir_tier_lookup_failures_total", "tier=\"redis\",cause=\"device\"",
     "Lookups that were answered without the tier.", COUNTER, SHARED(lookups_failed)},
    {"kvasir_tier_lookup_failures_total", "tier=\"redis\",cause=\"busy\"",
     "Lookups that were answered without the tier.", COUNTER, SHARED(lookups_refused)},
    {"kvasir_tier_decodes_total", "", "Coded chunks that were decoded here, for readers that do not.",
     COUNTER, DECODER(chunks)},
    {"kvasir_tier_decoded_bytes_total", "", "Bytes of these, coded.", COUNTER, DECODER(coded_bytes)},
    {"kvasir_tier_decoded_raw_bytes_total", "", "Bytes of these, decoded.", COUNTER, DECODER(raw_bytes)},
    {"kvasir_tier_decode_seconds_total", "", "Time that decoding took, of all its threads.", COUNTER,
     VALUE_NS(decoder.decode_ns)},
    {"kvasir_tier_decode_refused_total", "cause=\"busy\"", HELP_REFUSED, COUNTER, DECODER(refused)},
    {"kvasir_tier_decode_refused_total", "cause=\"corrupt\"", HELP_REFUSED, COUNTER, DECODER(corrupt)},
    {"kvasir_tier_decode_refused_total", "cause=\"failed\"", HELP_REFUSED, COUNTER, DECODER(failed)},
    {"kvasir_tier_decode_queued", "", "Coded chunks that wait for a thread that decodes.", GAUGE,
     DECODER(waiting)},
    {"kvasir_tier_decode_memory_bytes", "", "Memory of decoded chunks that are being sent, or made.", GAUGE,
     DECODER(memory_bytes)},
    {"kvasir_hints_total", "outcome=\"accepted\"", "Hints, by outcome.", COUNTER,
     VALUE(hints[KVI_HINT_ACCEPTED])},
    {"kvasir_hints_total", "outcome=\"clipped\"", "Hints, by outcome.", COUNTER,
     VALUE(hints[KVI_HINT_CLIPPED])},
    {"kvasir_hints_total", "outcome=\"deferred\"", "Hints, by outcome.", COUNTER,
     VALUE(hints[KVI_HINT_DEFERRED])},
    {"kvasir_hints_total", "outcome=\"rejected\"", "Hints, by outcome.", COUNTER,
     VALUE(hints[KVI_HINT_REJECTED])},
    {"kvasir_hints_total", "outcome=\"missing\"", "Hints, by outcome.", COUNTER,
     VALUE(hints[KVI_HINT_MISSING])},
    {"kvasir_programs", "", "Programs that hints have told of.", GAUGE, VALUE(programs.programs)},
    {"kvasir_programs_forgotten_total", "", "Programs forgotten to make room for others.", COUNTER,
     VALUE(programs.forgotten)},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static void values_take(struct kvi_store_service *service, struct values *values)
{
  memset(values, 0, sizeof(*values));
  kvi_store_stats(service->config.store, &values->store);
  if (service->config.shared)
    kvi_shared_stats(service->config.shared, &values->shared, &values->shared_medium);
  kvi_service_decoding_stats(service, &values->decoder);
  kvi_programs_stats(service->programs, &values->programs);
  for (int i = 0; i < KVI_HINT_OUTCOMES; i++)
    values->hints[i] = atomic_load_explicit(&service->hints[i], memory_order_relaxed);
}

static Kvasir__V1__Stat *stat_make(const struct row *row, const struct values *values)
{
  Kvasir__V1__Stat *stat = malloc(sizeof(*stat));
  uint64_t value;

  if (!stat)
    return NULL;
  kvasir__v1__stat__init(stat);
  memcpy(&value, (const char *)values + row->offset, sizeof(value));
  stat->name = strdup(row->name);
  stat->help = strdup(row->help);
  stat->labels = strdup(row->labels);
  stat->kind = row->kind;
  stat->value = (double)value * row->unit;
  if (stat->name && stat->help && stat->labels)
    return stat;
  protobuf_c_message_free_unpacked(&stat->base, NULL);
  return NULL;
}

static void bytes_set(ProtobufCBinaryData *data, const uint8_t *bytes, size_t length)
{
  data->data = malloc(length);
  data->len = data->data ? length : 0;
  if (data->data)
    memcpy(data->data, bytes, length);
}

static Kvasir__V1__DamagedChunk *damaged_make(const struct kvi_damage *damage)
{
  Kvasir__V1__DamagedChunk *chunk = malloc(sizeof(*chunk));

  if (!chunk)
    return NULL;
  kvasir__v1__damaged_chunk__init(chunk);
  bytes_set(&chunk->space, damage->space, sizeof(damage->space));
  bytes_set(&chunk->key, damage->key, damage->key_length);
  chunk->tier = damage->tier;
  chunk->found_by = strdup(kvi_damage_found_name(damage->found));
  chunk->age_ms = (kvi_now_ns() - damage->at_ns) / KVI_NS_PER_MS;
  if (chunk->space.data && chunk->key.data && chunk->found_by)
    return chunk;
  protobuf_c_message_free_unpacked(&chunk->base, NULL);
  return NULL;
}

static bool add_damaged(struct kvi_store_service *service, Kvasir__V1__StatsReply *reply)
{
  struct kvi_damage list[KVI_DAMAGES_MAX];
  uint32_t n = kvi_damages_list(kvi_store_damages(service->config.store), list);

  if (n == 0)
    return true;
  reply->damaged = calloc(n, sizeof(Kvasir__V1__DamagedChunk *));
  while (reply->damaged && reply->n_damaged < n) {
    reply->damaged[reply->n_damaged] = damaged_make(&list[reply->n_damaged]);
    if (!reply->damaged[reply->n_damaged])
      break;
    reply->n_damaged++;
  }
  return reply->n_damaged == n;
}

/* All but what it tells of. NULL: no memory. */
static Kvasir__V1__StatsReply *reply_make(const struct kvi_store_service *service)
{
  Kvasir__V1__StatsReply *reply = malloc(sizeof(*reply));

  if (!reply)
    return NULL;
  kvasir__v1__stats_reply__init(reply);
  reply->uptime_ms = (kvi_now_ns() - service->started_ns) / KVI_NS_PER_MS;
  reply->incarnation = service->config.incarnation;
  reply->software = strdup(service->software);
  if (reply->software)
    return reply;
  protobuf_c_message_free_unpacked(&reply->base, NULL);
  return NULL;
}

static kvs_status reply_end(Kvasir__V1__StatsReply *reply, bool whole, Kvasir__V1__StatsReply **reply_p)
{
  *reply_p = whole ? reply : NULL;
  if (!whole)
    protobuf_c_message_free_unpacked(&reply->base, NULL);
  return whole ? KVS_OK : KVS_ERR_NOMEM;
}

static bool add_rows(struct kvi_store_service *service, Kvasir__V1__StatsReply *reply)
{
  struct values values;

  values_take(service, &values);
  reply->stats = calloc(N_ROWS, sizeof(Kvasir__V1__Stat *));
  while (reply->stats && reply->n_stats < N_ROWS) {
    reply->stats[reply->n_stats] = stat_make(&rows[reply->n_stats], &values);
    if (!reply->stats[reply->n_stats])
      return false;
    reply->n_stats++;
  }
  return reply->stats != NULL;
}

kvs_status kvi_store_service_stats(struct kvi_store_service *service, Kvasir__V1__StatsReply **reply_p)
{
  Kvasir__V1__StatsReply *reply = reply_make(service);

  *reply_p = NULL;
  return !reply ? KVS_ERR_NOMEM
                : reply_end(reply,
                            add_rows(service, reply) && kvi_service_tenants_stats(service, NULL, reply) &&
                                kvi_service_curve_stats(service, reply) && add_damaged(service, reply),
                            reply_p);
}

kvs_status kvi_service_stats_of(struct kvi_store_service *service, const char *tenant,
                                Kvasir__V1__StatsReply **reply_p)
{
  Kvasir__V1__StatsReply *reply = reply_make(service);

  *reply_p = NULL;
  return !reply ? KVS_ERR_NOMEM
                : reply_end(reply, kvi_service_tenants_stats(service, tenant, reply), reply_p);
}
