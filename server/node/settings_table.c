/* settings_table.c: everything that can be set about kvasird, a row each. */
#include "base/array.h"
#include "proto/limits.h"
#include "server/node/settings.h"
#include "tiers/encoder/encoder.h"

#define KIB             INT64_C(1024)
#define MIB             (KIB * 1024)
#define GIB             (MIB * 1024)
#define TIB             (GIB * 1024)
#define SUN_PATH_MAX    107 /* of struct sockaddr_un */
#define PATH_LENGTH_MAX 4000

#define AT(TYPE, field) KVI_CONFIG_##TYPE##_AT(struct kvi_node_settings, field)

const char *const kvi_settings_policies[] = {"index", "lru",       "lfu",       "gdsf", "s3fifo",
                                             "sieve", "fixed-ttl", "continuum", NULL};
static const char *const redis_modes[] = {"off", "single", "sentinel", "cluster", NULL};
static const char *const put_admissions[] = {"price", "all", NULL};      /* enum kvi_node_admission */
static const char *const admissions[] = {"all", "reused", "none", NULL}; /* enum kvi_policy_admission */
static const char *const codecs[] = {"none", "lossless", "ladder", "cachegen",
                                     NULL}; /* enum kvi_node_codec */
static const char *const log_levels[] = {"error", "warn", "info", "debug", "trace", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

static const char *const durabilities[] = {"none", "seal", "put", NULL}; /* enum kvi_ssd_durability */

static const kvi_config_row rows[] = {
    {.name = "listen",
     AT(LIST, listen),
     .standard = "127.0.0.1:7070",
     .min = 0,
     .max = 8,
     .doc = "TCP addresses that clients connect to, each as `host:port`; IPv6 as `[::1]:7070`. For all "
            "addresses of both kinds list `0.0.0.0` and `[::]`. Port 0 takes "
            "any free port "
            "and says which in the log. An address that is not loopback needs TLS or `insecure: true`."},
    {.name = "unix_socket",
     AT(STRING, unix_socket),
     .standard = "/run/kvasir/kvasird.sock",
     .min = 0,
     .max = SUN_PATH_MAX,
     .doc = "Path of the unix socket for clients on the same host; empty for none. Its directory is created "
            "if it is "
            "missing and its parent may be written. A stale socket is replaced, one that another process "
            "listens on is not."},
    {.name = "unix_mode",
     AT(STRING, unix_mode),
     .standard = "0660",
     .min = 3,
     .max = 4,
     .doc = "Permissions of the unix socket, as three or four octal digits. Whoever may write to it may use "
            "the node."},
    {.name = "insecure",
     AT(BOOL, insecure),
     .standard = "false",
     .doc = "Allow addresses that are not loopback without TLS. Everybody who reaches the port can then "
            "read, write and "
            "delete chunks: only for networks where every host is trusted."},
    {.name = "tls.cert_file",
     AT(STRING, tls_cert_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "Certificate chain of this node, PEM. With `tls.key_file` it turns TLS on for every address of "
            "`listen`; the "
            "unix socket stays without."},
    {.name = "tls.key_file",
     AT(STRING, tls_key_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "Private key that belongs to `tls.cert_file`, PEM."},
    {.name = "tls.client_ca_file",
     AT(STRING, tls_client_ca_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "Certificates, PEM, that clients' certificates must be signed by. Empty: clients are not asked "
            "for one."},
    {.name = "tenants",
     AT(STRING, tenants),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc =
         "File that names who may use the node, by which tokens or certificates they are known, and their "
         "shares of memory and SSD (docs/tenants.md). Nobody else may read it, nor its group write it. Who "
         "shows no credential of it is refused, on the unix socket too. It is read again on SIGHUP. Empty: "
         "everybody who reaches the node may use all of it."},

    {.name = "dram.size",
     AT(SIZE, dram_size),
     .standard = "1GiB",
     .min = 4 * MIB,
     .max = 64 * TIB,
     .doc = "Memory for chunks. All of it is reserved and touched before the node says it is ready, and kept "
            "until it "
            "ends. More than the machine or its control group has is refused."},
    {.name = "dram.page_size",
     AT(SIZE, dram_page_size),
     .standard = "16KiB",
     .min = 4 * KIB,
     .max = 2 * MIB,
     .doc = "Unit in which that memory is given to chunks, a power of two. A chunk wastes half a unit on "
            "average."},
    {.name = "dram.huge_pages",
     AT(BOOL, dram_huge_pages),
     .standard = "true",
     .doc = "Use huge pages of the kernel when they are to be had; the log says what was got."},
    {.name = "dram.lock",
     AT(BOOL, dram_lock),
     .standard = "false",
     .doc = "Lock that memory so that it is never swapped out. When the kernel refuses (see "
            "`RLIMIT_MEMLOCK`) the node "
            "warns and goes on."},
    {.name = "dram.high_mark",
     AT(INT, dram_high_mark),
     .standard = "95",
     .min = 1,
     .max = 100,
     .unit = "percent",
     .doc = "When more of that memory than this is taken, chunks that are on SSD too leave it in the "
            "background, the "
            "least recently used "
            "first, until `dram.low_mark` is reached: so puts and reads find room without making it. Nothing "
            "is lost by it. 100: "
            "never. Without an SSD tier it does nothing."},
    {.name = "dram.low_mark",
     AT(INT, dram_low_mark),
     .standard = "90",
     .min = 0,
     .max = 100,
     .unit = "percent",
     .doc = "Where that ends. At most `dram.high_mark`."},
    {.name = "dram.codec",
     AT(ENUM, dram_codec),
     .standard = "none",
     .choices = codecs,
     .doc =
         "How chunks that lie in that memory are made smaller, once they are put: in the background, by "
         "`codec.threads`, with the choices of `ssd.codec`. It holds more of them for it, what is written to "
         "SSD and Redis from there goes as it is, and who reads a chunk has it to decode. When more is put "
         "than the "
         "threads can do, chunks stay as they were put. What comes from SSD or Redis lies in memory as it "
         "does "
         "there, whatever this says. Unless it is `none`, coded chunks in memory also lose planes when room "
         "is "
         "needed, as far as their owner allows, before any is evicted, those too that clients put coded."},
    {.name = "dram.test_fault",
     AT(STRING, dram_test_fault),
     .min = 0,
     .max = 1023,
     .mutable = true,
     .doc = "For tests only: the same as `ssd.test_fault`, for memory, which cannot be late."},

    {.name = "ssd.paths",
     AT(LIST, ssd_paths),
     .standard = "",
     .min = 0,
     .max = 16,
     .doc = "Directories of the SSD tier, best each on a device of its own; empty for none. Each is made if "
            "it is "
            "missing and its parent is there, filled with log files of its share of `ssd.size` at once, and "
            "used by one node "
            "alone. What is found there at start is served again."},
    {.name = "ssd.size",
     AT(SIZE, ssd_size),
     .standard = "0",
     .min = 0,
     .max = 16 * TIB,
     .doc = "Disk space of the SSD tier, all directories together, in whole log files. The tier never takes "
            "more. "
            "Each directory needs at least four log files."},
    {.name = "ssd.log_file_size",
     AT(SIZE, ssd_log_file_size),
     .standard = "256MiB",
     .min = 1 * MIB,
     .max = 16 * GIB,
     .doc = "Size of a log file, in whole MiB, at least twice `chunk.max_size`. Space is freed by whole log "
            "files. Another "
            "value than the directory has empties it."},
    {.name = "ssd.durability",
     AT(ENUM, ssd_durability),
     .standard = "seal",
     .choices = durabilities,
     .doc = "What a power cut leaves. `none`: what the device has. `seal`: all full log files. `put`: every "
            "chunk that counts as "
            "safe on SSD, at the price of a sync for each batch of them. A crash of the node alone loses "
            "nothing that was written, "
            "with each of them."},
    {.name = "ssd.write",
     AT(ENUM, ssd_write),
     .standard = "all",
     .choices = admissions,
     .doc = "Which chunks are written to SSD. `all`; `reused`: once a chunk was got, or put a second time, "
            "which "
            "spares the device what nobody comes back for, and loses it when memory is needed; `none`: what "
            "is there "
            "is read, and nothing is added."},
    {.name = "ssd.codec",
     AT(ENUM, ssd_codec),
     .standard = "lossless",
     .choices = codecs,
     .doc = "How chunks are made smaller on their way to SSD. `lossless`: tensors by what is known of keys "
            "and values (bf16 "
            "becomes about 1.5 times smaller), anything else by zstd if that gains something; not a bit "
            "changes. `ladder`: tensors whose owner allows the loss are quantised, with `codec.planes` (2: "
            "as exact as FP8, and "
            "about 2.8 times smaller); the others as with `lossless`. `cachegen`: the same as CacheGen's "
            "paper does it. `none`: as "
            "they were put. What is there already stays as it is, and is read with each of them."},
    {.name = "ssd.queue",
     AT(INT, ssd_queue),
     .standard = "4096",
     .min = 1,
     .max = 1000000,
     .unit = "chunks",
     .doc =
         "Most chunks that wait to be written to SSD. Beyond it the one that waits longest is not written."},
    {.name = "ssd.depth",
     AT(INT, ssd_depth),
     .standard = "16",
     .min = 1,
     .max = 256,
     .unit = "operations",
     .doc = "Most reads and writes of chunks under way in one directory."},
    {.name = "ssd.copy_limit",
     AT(INT, ssd_copy_limit),
     .standard = "25",
     .min = 1,
     .max = 75,
     .unit = "percent",
     .doc = "How much of the log files that are freed, over time, may be of use still and is written again: "
            "25 % is a "
            "third of a byte for each new one. More keeps what is used longer, and writes more. When leases "
            "let nothing go, more is written (docs/tiers.md)."},
    {.name = "ssd.write_budget",
     AT(SIZE, ssd_write_budget),
     .standard = "0",
     .min = 0,
     .max = 1024 * TIB,
     .doc = "Most bytes of new chunks that are written to SSD in a day, to spare it; 0 for no bound. They "
            "come in evenly; an hour's "
            "worth may be written at once. Chunks beyond it stay in memory only."},
    {.name = "ssd.scrub_rate",
     AT(SIZE, ssd_scrub_rate),
     .standard = "8MiB",
     .min = 0,
     .max = 1 * GIB,
     .doc = "Bytes a second of each directory that are read in the background to find damage before a client "
            "does; 0 for none."},
    {.name = "ssd.io_uring",
     AT(BOOL, ssd_io_uring),
     .standard = "true",
     .doc = "Use io_uring where the kernel gives it; else, and without it, plain reads and writes one after "
            "the other. The log says "
            "which."},
    {.name = "ssd.discard",
     AT(BOOL, ssd_discard),
     .standard = "true",
     .doc = "Tell the device which log files have been free for half a minute (holes are punched), which "
            "helps most SSDs."},
    {.name = "ssd.test_fault",
     AT(STRING, ssd_test_fault),
     .min = 0,
     .max = 1023,
     .mutable = true,
     .doc =
         "For tests only: makes operations of this tier fail, late or wrong on purpose, by rules such as "
         "`error:read:0.1,delay:write:200ms,corrupt:read:0.01` (docs/test-faults.md). `off`: none for now, "
         "rules may come with a reload. Empty, as it should be: there is nothing that could."},

    {.name = "store.max_chunks",
     AT(INT, store_max_chunks),
     .standard = "0",
     .min = 0,
     .max = 1 << 30, /* the store's bound */
     .unit = "chunks",
     .doc = "Most chunks the index holds, over all tiers; beyond it the policy evicts. 0: one for each 64 "
            "KiB of "
            "`dram.size`, at least 1024, and one for each 256 KiB of `ssd.size`."},
    {.name = "store.prefetch",
     AT(BOOL, store_prefetch),
     .standard = "false",
     .doc = "Read chunks back from SSD before they are asked for, when the policy `index` expects that who "
            "waits for them is "
            "about to be back, and that they are worth more in memory than what leaves it for them. A few at "
            "a time, and none "
            "while somebody waits for a read. Fewer requests wait for the SSD then, and more is read from it "
            "in all "
            "(docs/policy.md)."},
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
     .doc =
         "Which chunks go when memory is full; of a prompt always the last first. `index`: those that save "
         "the least seconds for their bytes, by how long programs of the kind stay away and by what they "
         "announce. `lru`: the least recently used. `lfu`: the least often used, with aging. `gdsf`: as "
         "`lfu`, but a use counts what computing the chunk costs for its bytes. `s3fifo`, `sieve`: queues "
         "that "
         "spare what was used. `fixed-ttl`, `continuum`: as `lru`, but programs that a client names are "
         "pinned "
         "softly after each answer, for 2 s, or as Continuum's formula has it. With an SSD tier all but "
         "`index` decide what is lost only: what leaves memory for the SSD is what was used longest ago. "
         "What each is for: docs/policy.md."},
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
     .doc =
         "File in which policy `index` keeps over a restart who waits for what, and what it has learned of "
         "waits; only this node may use it. Empty: `waiters.kvw` in the first directory of `ssd.paths`, or "
         "none without one. `none`: a restarted node knows nothing of it."},
    {.name = "store.state_interval",
     AT(DURATION, store_state_interval),
     .standard = "10s",
     .min = 100,
     .max = 3600000,
     .doc =
         "How often it is written at most, if anything has changed: what a node that is killed has "
         "forgotten of its programs is not older (a file of more than 10 MB is written less often). One that "
         "is stopped forgets nothing, if the disk takes the file within `drain_timeout`."},
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
     .doc =
         "Threads that encode for a tier, for each tier with a codec, and as many that decode for clients "
         "that do not. When more is to be written, or put in memory, than they can do, chunks stay as they "
         "are."},
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

    {.name = "redis.mode",
     AT(ENUM, redis_mode),
     .standard = "off",
     .choices = redis_modes,
     .doc = "The cold tier that nodes share: `off`; `single`, one Redis; `sentinel`, the master that "
            "Sentinel names; "
            "`cluster`, a Redis Cluster."},
    {.name = "redis.addresses",
     AT(LIST, redis_addresses),
     .min = 0,
     .max = 64,
     .doc = "Where they are, each as `host:port`: the one server, the sentinels, or some servers of the "
            "cluster."},
    {.name = "redis.username",
     AT(STRING, redis_username),
     .min = 0,
     .max = 256,
     .doc = "ACL user at the servers; empty for Redis' default user. The commands it needs are in "
            "docs/redis.md."},
    {.name = "redis.password",
     AT(STRING, redis_password),
     .min = 0,
     .max = 2048,
     .secret = true,
     .doc = "Password at the servers; empty for none."},
    {.name = "redis.sentinel_master",
     AT(STRING, redis_sentinel_master),
     .standard = "mymaster",
     .min = 1,
     .max = 128,
     .doc = "Name of the master at the sentinels."},
    {.name = "redis.sentinel_username",
     AT(STRING, redis_sentinel_username),
     .min = 0,
     .max = 256,
     .doc = "ACL user at the sentinels themselves; empty for the default user."},
    {.name = "redis.sentinel_password",
     AT(STRING, redis_sentinel_password),
     .min = 0,
     .max = 2048,
     .secret = true,
     .doc = "Password at the sentinels; empty for none."},
    {.name = "redis.tls",
     AT(BOOL, redis_tls),
     .standard = "false",
     .doc = "Speak TLS to Redis. The hiredis of Debian 12 (0.14) cannot, so `true` is refused: put a TLS "
            "proxy in front."},
    {.name = "redis.key_prefix",
     AT(STRING, redis_key_prefix),
     .standard = "kvasir:",
     .min = 0,
     .max = 32,
     .doc = "What all keys begin with. Nodes that share chunks have the same one."},
    {.name = "redis.write",
     AT(ENUM, redis_write),
     .standard = "all",
     .choices = admissions,
     .doc = "Which of the chunks that are put here are written to Redis, in the background. `all`; `reused`: "
            "once a chunk was got here, or put a second time; `none`: Redis is only read."},
    {.name = "redis.codec",
     AT(ENUM, redis_codec),
     .standard = "lossless",
     .choices = codecs,
     .doc = "The same for Redis as `ssd.codec`. Each node may have its own, and reads every form; `none` "
            "while nodes of "
            "a Kvasir from before there was a codec share the chunks."},
    {.name = "redis.ttl",
     AT(DURATION, redis_ttl),
     .standard = "24h",
     .min = 0,
     .max = INT64_C(365) * 86400 * 1000,
     .doc =
         "How long Redis keeps a chunk after its last use, at most: a put may ask for less. 0: until Redis "
         "itself evicts it."},
    {.name = "redis.max_chunk",
     AT(SIZE, redis_max_chunk),
     .standard = "128MiB",
     .min = 4 * KIB,
     .max = KVI_CHUNK_BYTES_MAX,
     .doc = "Largest chunk that is written to Redis or taken from it."},
    {.name = "redis.connections",
     AT(INT, redis_connections),
     .standard = "4",
     .min = 1,
     .max = 16,
     .unit = "connections",
     .doc = "Connections to each server that carry chunks; one more carries lookups."},
    {.name = "redis.pipeline",
     AT(INT, redis_pipeline),
     .standard = "16",
     .min = 1,
     .max = 256,
     .unit = "commands",
     .doc = "Commands in flight on each of them."},
    {.name = "redis.write_queue",
     AT(INT, redis_write_queue),
     .standard = "4096",
     .min = 1,
     .max = 1000000,
     .unit = "chunks",
     .doc = "Chunks that wait to be written; beyond it the oldest is left out."},
    {.name = "redis.max_fetches",
     AT(INT, redis_max_fetches),
     .standard = "256",
     .min = 1,
     .max = 65536,
     .unit = "chunks",
     .doc = "Chunks that are fetched at a time; beyond it a get is a miss."},
    {.name = "redis.lookup_timeout",
     AT(DURATION, redis_lookup_timeout),
     .standard = "50ms",
     .min = 1,
     .max = 10000,
     .doc = "How long a lookup may wait for Redis; then it is answered with what the node itself has."},
    {.name = "redis.get_timeout",
     AT(DURATION, redis_get_timeout),
     .standard = "2s",
     .min = 10,
     .max = 600000,
     .doc = "How long fetching a chunk may take; then the get is a miss."},
    {.name = "redis.put_timeout",
     AT(DURATION, redis_put_timeout),
     .standard = "10s",
     .min = 10,
     .max = 600000,
     .doc = "How long writing a chunk may take; then it is given up."},
    {.name = "redis.connect_timeout",
     AT(DURATION, redis_connect_timeout),
     .standard = "1s",
     .min = 10,
     .max = 600000,
     .doc = "How long it may take until a connection is ready for commands."},
    {.name = "redis.stall_timeout",
     AT(DURATION, redis_stall_timeout),
     .standard = "2s",
     .min = 10,
     .max = 600000,
     .doc =
         "A connection on which no byte has moved for this long, while there were some to move, is closed."},
    {.name = "redis.breaker_failures",
     AT(INT, redis_breaker_failures),
     .standard = "8",
     .min = 1,
     .max = 10000,
     .unit = "operations",
     .doc = "After so many in a row without an answer in time a server is left alone for a while: what needs "
            "it is a miss at once."},
    {.name = "redis.retry_longest",
     AT(DURATION, redis_retry_longest),
     .standard = "5s",
     .min = 100,
     .max = 600000,
     .doc = "The longest such while. It begins with 100ms and doubles with each attempt in vain."},
    {.name = "redis.test_fault",
     AT(STRING, redis_test_fault),
     .min = 0,
     .max = 1023,
     .mutable = true,
     .doc = "For tests only: the same as `ssd.test_fault`, for this tier."},

    {.name = "grpc.pollers",
     AT(INT, grpc_pollers),
     .standard = "0",
     .min = 0,
     .max = 64,
     .unit = "threads",
     .doc = "Threads that serve connections. 0: a quarter of the cores, 1 to 4."},
    {.name = "grpc.memory_quota",
     AT(SIZE, grpc_memory_quota),
     .standard = "256MiB",
     .min = 16 * MIB,
     .max = 1 * TIB,
     .doc = "Most memory that gRPC uses for messages that are coming in and going out, beside `dram.size`. "
            "It is what "
            "bounds the harm of oversized messages."},
    {.name = "grpc.max_connections",
     AT(INT, grpc_max_connections),
     .standard = "4096",
     .min = 1,
     .max = 1000000,
     .unit = "connections",
     .doc = "Most client connections; further ones are closed at once. Lowered to what the limit on open "
            "files allows, "
            "two for each connection."},
    {.name = "grpc.max_streams",
     AT(INT, grpc_max_streams),
     .standard = "1024",
     .min = 1,
     .max = 65536,
     .unit = "calls",
     .doc = "Most calls in progress on one connection; a client waits before it starts more."},
    {.name = "grpc.stall_timeout",
     AT(DURATION, grpc_stall_timeout),
     .standard = "10s",
     .min = 100,
     .max = 3600000,
     .doc = "A connection whose peer has not taken any byte for this long, while there are some for it, is "
            "closed."},

    {.name = "admin.listen",
     AT(STRING, admin_listen),
     .standard = "127.0.0.1:7071",
     .min = 0,
     .max = 300,
     .doc = "Address of the HTTP port with `/metrics`, `/healthz` and `/readyz`; empty for none. It never "
            "has TLS, so an "
            "address that is not loopback needs `insecure: true`."},
    {.name = "admin.max_connections",
     AT(INT, admin_max_connections),
     .standard = "64",
     .min = 2,
     .max = 1000,
     .unit = "connections",
     .doc = "Most connections to the HTTP port; when the last place is taken, the oldest ends."},

    {.name = "log.level",
     AT(ENUM, log_level),
     .standard = "info",
     .choices = log_levels,
     .mutable = true,
     .doc = "How much is logged to standard error. `info` is a few lines a minute whatever the load."},
    {.name = "log.format",
     AT(ENUM, log_format),
     .standard = "text",
     .choices = log_formats,
     .mutable = true,
     .doc = "One line of text for each event, or one JSON object."},
    {.name = "drain_timeout",
     AT(DURATION, drain_timeout),
     .standard = "10s",
     .min = 0,
     .max = 600000,
     .mutable = true,
     .doc = "How long work in flight may go on after SIGTERM before it is cancelled. The process ends at the "
            "latest a second after."},
};

/* What libkvasir's programs read: a shell that has them set starts a node as well. */
static const char *const client_variables[] = {"KVASIR_ENDPOINT",
                                               "KVASIR_TLS_CA",
                                               "KVASIR_TLS_CERT",
                                               "KVASIR_TLS_KEY",
                                               "KVASIR_TLS_NAME",
                                               "KVASIR_TOKEN_FILE",
                                               NULL};

const kvi_config_table kvi_settings_table = {
    .program = "kvasird",
    .version = KVASIR_VERSION,
    .summary = "cache node of Kvasir: keeps chunks of KV cache in memory and serves them over gRPC",
    .rows = rows,
    .row_count = KVI_ARRAY_SIZE(rows),
    .struct_size = sizeof(struct kvi_node_settings),
    .others = client_variables,
};
