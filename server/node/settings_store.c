/* settings_store.c: the store over all tiers, its policy, and how large what it takes may be. */
#include "proto/limits.h"
#include "server/node/settings_rows.h"
#include "tiers/encoder/encoder.h"

const char *const kvi_settings_policies[] = {"index", "lru",       "lfu",       "gdsf", "s3fifo",
                                             "sieve", "fixed-ttl", "continuum", NULL};
static const char *const put_admissions[] = {"price", "all", NULL}; /* enum kvi_node_admission */

static const kvi_config_row rows[] = {
    {.name = "store.max_chunks",
     AT(INT, store_max_chunks),
     .standard = "0",
     .min = 0,
     .max = 1 << 30, /* the store's bound */
     .unit = "chunks",
     .doc = "Most chunks the index holds, over all tiers; beyond it the policy evicts. 0: one for each 64 "
            "KiB of `dram.size`, at least 1024, and one for each 256 KiB of `ssd.size`."},
    {.name = "store.prefetch",
     AT(BOOL, store_prefetch),
     .standard = "false",
     .doc = "Read chunks back from SSD before they are asked for, when the policy `index` expects that who "
            "waits for them is about to be back, and that they are worth more in memory than what leaves it "
            "for them. A few at a time, and none while somebody waits for a read. Fewer requests wait for "
            "the SSD then, and more is read from it in all (docs/policy.md)."},
    {.name = "store.curve_samples",
     AT(INT, store_curve_samples),
     .standard = "16384",
     .min = 0,
     .max = 65536, /* KVI_CURVE_SAMPLES_MAX */
     .unit = "samples",
     .doc = "Look-ups and puts of chunks that are kept for `kvasirctl curve` (docs/curve.md), 56 bytes each; "
            "an estimate takes some 5 ms with 16384. At least 4096; 0: none, and there is no estimate."},
    {.name = "store.max_spaces",
     AT(INT, store_max_spaces),
     .standard = "1024",
     .min = 1,
     .max = UINT16_MAX, /* an index entry has 16 bits for its space */
     .unit = "spaces",
     .doc = "Most spaces (model, dtype, layout, ...) the node remembers; another one is refused."},
    {.name = "store.max_leases",
     AT(INT, store_max_leases),
     .standard = "65536",
     .min = 1,
     .max = 100000000,
     .unit = "leases",
     .doc = "Most leases at a time; beyond it a lookup is answered without one."},
    {.name = "store.max_landings",
     AT(INT, store_max_landings),
     .standard = "1024",
     .min = 1,
     .max = 1000000,
     .unit = "chunks",
     .doc = "Most chunks that are being put at a time; beyond it a put is refused as busy."},
    {.name = "store.policy",
     AT(ENUM, store_policy),
     .standard = "index",
     .choices = kvi_settings_policies,
     .doc = "Which chunks go when memory is full; of a prompt always the last first. `index`: those that "
            "save the least seconds for their bytes, by how long programs of the kind stay away and by what "
            "they announce. `lru`: the least recently used. `lfu`: the least often used, with aging. `gdsf`: "
            "as `lfu`, but a use counts what computing the chunk costs for its bytes. `s3fifo`, `sieve`: "
            "queues that spare what was used. `fixed-ttl`, `continuum`: as `lru`, but programs that a client "
            "names are pinned softly after each answer, for 2 s, or as Continuum's formula has it. With an "
            "SSD tier all but `index` decide what is lost only: what leaves memory for the SSD is what was "
            "used longest ago. What each is for: docs/policy.md."},
    {.name = "store.admission",
     AT(ENUM, store_admission),
     .standard = "price",
     .choices = put_admissions,
     .doc = "What becomes of a put if something would be lost for it. `price`: with policy `index` the put "
            "is declined if what would go is worth more than the end of the prompt that is put. Where room "
            "takes several chunks, cheaper ones may have gone by then. Only of clients that say how long "
            "their prompts are, and not over an SSD or Redis. `all`: whatever is put is stored. "
            "docs/policy.md says more."},
    {.name = "store.state_file",
     AT(STRING, store_state_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "File in which policy `index` keeps over a restart who waits for what, and what it has learned "
            "of waits; only this node may use it. Empty: `waiters.kvw` in the first directory of "
            "`ssd.paths`, or none without one. `none`: a restarted node knows nothing of it."},
    {.name = "store.state_interval",
     AT(DURATION, store_state_interval),
     .standard = "10s",
     .min = 100,
     .max = 3600000,
     .doc = "How often it is written at most, if anything has changed: what a node that is killed has "
            "forgotten of its programs is not older (a file of more than 10 MB is written less often). One "
            "that is stopped forgets nothing, if the disk takes the file within `drain_timeout`."},
    {.name = "store.test_clock",
     AT(STRING, store_test_clock),
     .min = 0,
     .max = 1023,
     .doc = "For tests only: a file of 8 bytes, by how many nanoseconds the policy's clock is ahead of the "
            "machine's. A test writes to it; it never makes it less."},

    {.name = "codec.threads",
     AT(INT, codec_threads),
     .standard = "1",
     .min = 1,
     .max = KVI_ENCODER_THREADS_MAX,
     .unit = "threads",
     .doc = "Threads that encode for a tier, for each tier with a codec, and as many that decode for clients "
            "that do not. When more is to be written, or put in memory, than they can do, chunks stay as "
            "they are."},
    {.name = "codec.planes",
     AT(INT, codec_planes),
     .standard = "2",
     .min = 0,
     .max = KVI_CODEC_PLANES_MAX,
     .unit = "planes",
     .doc = "How fine `ladder` is: each plane takes 1.6 bits an element and divides the error by three. 2 is "
            "as exact as FP8."},
    {.name = "chunk.max_size",
     AT(SIZE, chunk_max_size),
     .standard = "128MiB",
     .min = 4 * KIB,
     .max = KVI_CHUNK_BYTES_MAX,
     .doc = "Largest payload of one chunk. Must fit `dram.size`."},
    {.name = "frame.max_size",
     AT(SIZE, frame_max_size),
     .standard = "2MiB",
     .min = 64 * KIB,
     .max = KVI_FRAME_BYTES_MAX,
     .doc = "Most payload in one message of a transfer. Clients are told and keep to it."},
    {.name = "batch.max_chunks",
     AT(INT, batch_max_chunks),
     .standard = "512",
     .min = 1,
     .max = KVI_BATCH_CHUNKS_MAX,
     .unit = "chunks",
     .doc = "Most chunks of one get or put. Clients are told and keep to it."},
};

const kvi_config_rows kvi_settings_store = {.rows = rows, .count = KVI_ARRAY_SIZE(rows)};
