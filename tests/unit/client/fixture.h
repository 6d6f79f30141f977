/* A client over the local wire and a real store, and a wire that holds what it is given until the test says so. */
#ifndef KVI_TESTS_UNIT_CLIENT_FIXTURE_H
#define KVI_TESTS_UNIT_CLIENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include <kvasir/client.h>

#include "client/client_private.h"
#include "proto/local/local.h"
#include "proto/service.h"
#include "tiers/service.h"
#include "tiers/store.h"

#define KEY 32u

struct fixture {
  struct kvi_store *store;
  struct kvi_store_service *service;
  kvsc_client *client;
  kvsc_space *space;
};

/* A store of dram_bytes and a client of max_operations (0: the default) over it, with one space. */
void fixture_open(struct fixture *fixture, uint64_t dram_bytes, uint32_t max_operations);
void fixture_close(struct fixture *fixture);

kvs_space_desc test_desc(const char *model);
/* Key i of a family. */
void test_key(uint32_t family, uint32_t i, uint8_t key[KEY]);
void test_fill(uint8_t *bytes, size_t length, uint32_t seed);

/* One chunk in one buffer, put or got and waited for. */
kvs_status put_one(kvsc_space *space, kvsc_client *client, const uint8_t *key, void *bytes, size_t length);
kvs_status get_one(kvsc_space *space, kvsc_client *client, const uint8_t *key, void *bytes, size_t room,
                   kvsc_completion *completion);
/* Waits for an operation, up to 10 s; fails the test if it does not end. */
kvsc_completion wait_for(kvsc_client *client, kvsc_op op);

/* ---- a wire in the test's hands ---- */

#define HELD_MAX 64u

struct held_wire {
  struct kvi_wire wire;
  kvi_wire_state_fn *state_fn;
  void *state_ctx;
  struct kvi_transfer *held[HELD_MAX]; /* in the order of submit; NULL: ended */
  uint32_t n_held, n_canceled, n_open_space;
  kvi_call_done_fn *call_done[HELD_MAX]; /* calls but OpenSpace, which is answered at once */
  void *call_ctx[HELD_MAX];
  uint32_t n_calls;
  bool only_corrupt;            /* of the last Delete */
  void (*on_delete)(void *ctx); /* called from inside of each Delete, or NULL */
  void *on_delete_ctx;
  kvs_status submit_status;     /* what submit says; KVS_OK: holds it */
  kvs_status open_space_status; /* what the node answers to OpenSpace */
};

kvs_status held_factory(void *ctx, const kvsc_options *options, kvi_wire_state_fn *state_fn, void *state_ctx,
                        struct kvi_wire **wire_p);
/* A client over it, connected. */
void held_open(struct held_wire *wire, kvsc_client **client_p, kvsc_space **space_p);
/* Ends a held transfer: all its chunks with `chunk`, the whole with `whole`. */
void held_end(struct held_wire *wire, uint32_t i, kvs_status chunk, kvs_status whole);
/* Transfers that were submitted so far, or canceled. */
uint32_t held_count(struct held_wire *wire);
uint32_t held_cancels(struct held_wire *wire);
/* Waits until n transfers were submitted (the client's thread does it for puts that waited). */
void held_wait(struct held_wire *wire, uint32_t n);

#endif
