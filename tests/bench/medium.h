/* tests/bench/medium.h: the media that way_medium.c measures, configured as a node configures them. */
#ifndef KVASIR_BENCH_MEDIUM_H
#define KVASIR_BENCH_MEDIUM_H

#include "tests/bench/case.h"
#include "tiers/medium.h"

#define BENCH_SSD_FILES   8u                     /* log files of a volume */
#define BENCH_REDIS_BYTES ((uint64_t)1280 << 20) /* of its memory that is touched before the clock starts */

/*
 * A volume of the SSD tier in a folder that is made if need be. It does not scrub: what runs beside a measurement would be measured.
 * Errors as kvi_ssd_create.
 */
kvs_status bench_ssd_medium(enum bench_way_id way, const char *path, uint64_t bytes, uint64_t chunk_bytes_max,
                            struct kvi_medium **medium_p);

/* The Redis tier with so many connections. KVS_ERR_UNSUPPORTED in a build without it. */
kvs_status bench_redis_medium(uint16_t port, uint32_t connections, struct kvi_medium **medium_p);
/* Until it is connected. KVS_ERR_UNREACHABLE. */
kvs_status bench_redis_wait(struct kvi_medium *medium);
/*
 * Before values of another size than those before: Redis gives its memory back (else what its allocator cut for the other size stays, and it grows with each
 * change), touches BENCH_REDIS_BYTES in values of this size, and is empty. KVS_ERR_UNREACHABLE, KVS_ERR_NOMEM.
 */
kvs_status bench_redis_touch(uint16_t port, uint64_t value_bytes);
/* Empties Redis and waits until it is; its memory stays with it. */
kvs_status bench_redis_flush(uint16_t port);

#endif
