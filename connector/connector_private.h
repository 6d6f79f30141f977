/*
 * connector/connector_private.h: shared by the files of the connector.
 *
 * A connector is a client (client/) plus what it adds: the engine's memory as regions, numbers of its own for
 * operations, and, on "embedded:", the store behind the client's wire. The client moves bytes and completes; nothing here
 * has a thread.
 *
 * Lock order: connector->mutex, then the client's. It is held for a few instructions, or while a space is opened; never
 * while an operation is started, waited for or polled.
 */
#ifndef KVI_CONNECTOR_CONNECTOR_PRIVATE_H
#define KVI_CONNECTOR_CONNECTOR_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include <kvasir/client.h>
#include <kvasir/connector.h>

#include "base/list.h"

#define KVI_CONNECTOR_SPACES_MAX     64u
#define KVI_CONNECTOR_REGIONS_MAX    4096u
#define KVI_CONNECTOR_OPERATIONS     4096u
#define KVI_CONNECTOR_OPERATIONS_MAX 65536u
#define KVI_CONNECTOR_TIMEOUT_MS     5000u
#define KVI_CONNECTOR_DRAM_BYTES     (UINT64_C(1) << 30)
#define KVI_CONNECTOR_PLACES_MAX                                                                             \
  (1u << 20)                        /* entries of a request's scatter lists, before they are joined: 16 MiB */
#define KVI_CONNECTOR_TEXT_MAX 255u /* bytes of a hint's strings */

/* ---- endpoints (endpoint.c) ---- */

enum kvi_connector_endpoint { KVI_CONNECTOR_EMBEDDED, KVI_CONNECTOR_NODE };

/* Which kind, and the size an embedded one names (0: none). KVS_ERR_INVALID: malformed; logged with what is right. */
kvs_status kvi_connector_endpoint_parse(const char *endpoint, enum kvi_connector_endpoint *kind_p,
                                        uint64_t *bytes_p);

/* ---- the store inside (embedded.c) ---- */

struct kvi_connector_embedded;

/*
 * A store, its service, and a client over the local wire to it. Blocks while the memory is touched. Errors:
 * KVS_ERR_INVALID (bytes too small for a store), KVS_ERR_NOMEM, KVS_ERR_SYSTEM.
 */
kvs_status kvi_connector_embedded_open(uint64_t bytes, const kvsc_options *options,
                                       struct kvi_connector_embedded **embedded_p, kvsc_client **client_p);
/* After kvsc_close of its client. NULL is fine. */
void kvi_connector_embedded_close(struct kvi_connector_embedded *embedded);

/* ---- operations (op.c) ---- */

/*
 * One operation from its start until its completion is taken. A fixed number of them lies in the connector; a number
 * (kvs_op) is the place in that array and how often the place was used, so that it is never given twice.
 *
 * References: one is the operation's and goes when its completion is taken; one is held by the starting thread, since on
 * the local wire another thread may take the completion before the start has returned; one by each thread that waits
 * for a layer. The last one frees the scratch memory and the place.
 */
struct kvi_connector_op {
  kvs_op id;          /* of the present use */
  kvsc_op client;     /* 0 until known */
  uint64_t user;      /* the engine's */
  kvs_memory *memory; /* counted in its users until the completion is taken; NULL: none */
  uint32_t references;
  uint32_t n_chunks, slots_per_chunk;
  bool lookup, put;
  bool taken; /* the completion was taken; the fields below tell what it said */
  kvs_status status;
  uint32_t n_prefix;
  uint32_t next_free; /* index + 1 */

  /* Scatter lists or keys that must live as long as the operation: inside for small ones, else an allocation. */
  void *allocation;
  _Alignas(16) unsigned char room[1024];
};

struct kvi_connector_op_table {
  struct kvi_connector_op *ops;
  uint32_t capacity;
  uint32_t first_free; /* index + 1; above capacity: none */
};

kvs_status kvi_connector_op_table_create(uint32_t capacity, struct kvi_connector_op_table *table_p);
void kvi_connector_op_table_destroy(struct kvi_connector_op_table *table);

/*
 * A place for a new operation. memory (may be NULL) is counted as used. KVS_ERR_BUSY: none is free. Ends in
 * kvi_connector_op_started or kvi_connector_op_refused.
 */
kvs_status kvi_connector_op_begin(kvs_connector *connector, const kvs_request *request, kvs_memory *memory,
                                  struct kvi_connector_op **op_p);
/* Memory that lives as long as the operation; at most once for each. NULL: there is none. */
void *kvi_connector_op_alloc(struct kvi_connector_op *op, size_t size);
/* The client took it: returns its number. The caller may not look at op afterwards. */
kvs_op kvi_connector_op_started(kvs_connector *connector, struct kvi_connector_op *op, kvsc_op client);
/* The client refused it, or it was never asked. */
void kvi_connector_op_refused(kvs_connector *connector, struct kvi_connector_op *op);
/* The client gave its completion: translates it and lets go of the operation. */
void kvi_connector_op_complete(kvs_connector *connector, const kvsc_completion *from, kvs_completion *to);
/* The client's number of an operation, 0 if it is unknown or taken. */
kvsc_op kvi_connector_op_client(kvs_connector *connector, kvs_op id);
/* The operation itself, held until kvi_connector_op_release; NULL if it is unknown or taken. Call with the mutex held. */
struct kvi_connector_op *kvi_connector_op_hold(kvs_connector *connector, kvs_op id);
void kvi_connector_op_release(kvs_connector *connector, struct kvi_connector_op *op);

/* ---- the handles ---- */

struct kvs_connector {
  pid_t pid; /* that opened it */
  kvsc_client *client;
  struct kvi_connector_embedded *embedded; /* NULL: a node */
  uint64_t embedded_bytes;

  pthread_mutex_t mutex; /* guards the following, down to the counters */
  kvs_space *spaces[KVI_CONNECTOR_SPACES_MAX];
  uint32_t n_spaces;
  kvi_list memories; /* kvs_memory.node */
  struct kvi_connector_op_table table;

  _Atomic uint64_t lookup_keys, lookup_hit_keys, put_stored, hints, busy;
};

struct kvs_space {
  kvs_connector *connector;
  kvsc_space *client;
  uint8_t digest[KVS_DIGEST_SIZE];
  uint64_t chunk_bytes; /* 0: varies */
  uint32_t key_length;
  uint32_t tokens_per_chunk;
  kvs_hash hash;
};

struct kvs_memory {
  kvs_connector *connector;
  kvi_list_node node;
  uint32_t users; /* operations; guarded by the connector's mutex */
  uint32_t n_regions;
  uint32_t n_slots;    /* the smallest of the regions' */
  uint64_t slot_bytes; /* of one slot over all regions */
  kvs_region regions[];
};

/* ---- scatter lists (region.c) ---- */

/* What a request on registered memory moves. */
struct kvi_connector_scatter {
  const kvs_memory *memory;
  const int64_t *slots;
  uint32_t slots_per_chunk, n_chunks;
  bool holes; /* a slot may be -1 */
};

/* Bounds, slot numbers. Errors: KVS_ERR_INVALID, KVS_ERR_TOO_LARGE. */
kvs_status kvi_connector_scatter_check(const struct kvi_connector_scatter *scatter);
/* Payload bytes of each chunk. */
uint64_t kvi_connector_scatter_chunk_bytes(const struct kvi_connector_scatter *scatter);
/*
 * One chunk's list in payload order: for each region, each slot; neighbours in memory are joined, across regions too.
 * Returns its length. iov NULL: only counts.
 */
uint32_t kvi_connector_scatter_chunk(const struct kvi_connector_scatter *scatter, uint32_t chunk,
                                     kvsc_iov *iov);
/* How many leading bytes of a slot, over the regions, are those of `layer` and of those before it; 0: there is no such layer. */
uint64_t kvi_connector_memory_bytes_of_layer(const kvs_memory *memory, uint32_t layer);

/* ---- arguments (request.c) ---- */

/*
 * Copies a struct that begins with its size into one of ours. What a caller of an older version does not have is zero. KVS_ERR_INVALID:
 * too small for any version, or larger than ours with something set that this version does not know. from NULL: zeroes.
 */
kvs_status kvi_connector_struct_copy(void *to, size_t size, const void *from);

/* The client's form of keys, checked: n from 1 to n_max (KVS_ERR_TOO_LARGE above). */
kvs_status kvi_connector_keys_convert(const kvs_keys *keys, uint32_t n_max, kvsc_keys *to);
/* The client's form of a request's options. */
void kvi_connector_request_convert(const kvs_request *request, const struct kvi_connector_op *op,
                                   kvsc_call *to);

#endif
