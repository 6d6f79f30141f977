/* tiers/service_private.h: what the files of the service share. */
#ifndef KVASIR_TIERS_SERVICE_PRIVATE_H
#define KVASIR_TIERS_SERVICE_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "tiers/decoder.h"
#include "tiers/programs.h"
#include "tiers/service.h"

struct kvi_store_service {
  struct kvi_service service; /* as wires see it */
  struct kvi_store_service_config config;
  char *software;
  uint64_t started_ns;
  struct kvi_programs *programs;
  struct kvi_service_decoding *decoding; /* service_get.c; NULL: nothing is decoded here */
  atomic_bool draining;
  _Atomic uint64_t hints[KVI_HINT_OUTCOMES]; /* by outcome */
};

bool kvi_service_is_draining(const struct kvi_store_service *service);

/* service_get.c: gets, as kvi_service_ops says. */
kvs_status kvi_service_get_open(void *self, const struct kvi_peer *peer, const uint8_t *space,
                                const uint8_t *key, uint32_t key_length, struct kvi_get_wait *wait,
                                struct kvi_source *source_p, uint32_t *cause_p);
bool kvi_service_get_unwait(void *self, struct kvi_get_wait *wait);
bool kvi_service_get_ahead(void *self, const struct kvi_peer *peer, const uint8_t *space, const uint8_t *key,
                           uint32_t key_length, uint32_t distance);
void kvi_service_get_close(void *self, struct kvi_source *source);
/* The decoder; sets the limit of what readers hold of it. KVS_ERR_INVALID, KVS_ERR_NOMEM, KVS_ERR_SYSTEM. */
kvs_status kvi_service_decoding_create(struct kvi_store_service *service);
void kvi_service_decoding_destroy(struct kvi_store_service *service);
/* All 0 without one. */
void kvi_service_decoding_stats(struct kvi_store_service *service, struct kvi_decoder_stats *stats_p);

/* As kvi_service_ops.call. */
kvs_status kvi_service_call(void *self, const struct kvi_peer *peer, enum kvi_method method,
                            const ProtobufCMessage *request, struct kvi_call_wait *wait,
                            ProtobufCMessage **reply_p);

/*
 * A control method: takes its request, fills the reply that kvi_service_call made, and returns KVS_OK or what the
 * transport is to say; a refusal is the reply's status.
 */
typedef kvs_status kvi_service_call_fn(struct kvi_store_service *service, const struct kvi_peer *peer,
                                       const void *request, void *reply);

/* service_spaces.c */
kvi_service_call_fn kvi_service_open_space, kvi_service_list_spaces;

/* service_hint.c */
kvi_service_call_fn kvi_service_hint;
/* service_programs.c */
kvi_service_call_fn kvi_service_list_programs;
/* service_tenants.c */
kvi_service_call_fn kvi_service_tenants;
/* Appends rows of this tenant, or (NULL) of each, of a bounded number; nothing without tenants. False: no memory. */
bool kvi_service_tenants_stats(struct kvi_store_service *service, const char *tenant,
                               Kvasir__V1__StatsReply *reply);

/* service_curve.c */
kvi_service_call_fn kvi_service_curve;
/* Appends rows of the last estimate; nothing without samples. False: no memory. */
bool kvi_service_curve_stats(struct kvi_store_service *service, Kvasir__V1__StatsReply *reply);

/* service_stats.c: as kvi_store_service_stats, but what one tenant may be told. */
kvs_status kvi_service_stats_of(struct kvi_store_service *service, const char *tenant,
                                Kvasir__V1__StatsReply **reply_p);

/* Replaces a reply's string; fills its bytes. KVS_ERR_NOMEM. */
kvs_status kvi_service_text_set(char **field, const char *text);
kvs_status kvi_service_bytes_set(ProtobufCBinaryData *field, const void *data, size_t length);

/* service_lookup.c. As kvi_service_ops.call. */
kvs_status kvi_service_lookup(struct kvi_store_service *service, const struct kvi_peer *peer,
                              const ProtobufCMessage *request, struct kvi_call_wait *wait,
                              ProtobufCMessage **reply_p);
/* service_delete.c. As kvi_service_ops.call. */
kvs_status kvi_service_delete(struct kvi_store_service *service, const struct kvi_peer *peer,
                              const ProtobufCMessage *request, struct kvi_call_wait *wait,
                              ProtobufCMessage **reply_p);
/* service_why.c. As kvi_service_ops.call. */
kvs_status kvi_service_why(struct kvi_store_service *service, const struct kvi_peer *peer,
                           const ProtobufCMessage *request, struct kvi_call_wait *wait,
                           ProtobufCMessage **reply_p);
/* A blob of 1 to KVI_LOOKUP_KEYS_MAX whole keys. */
kvs_status kvi_service_keys_check(const Kvasir__V1__Keys *keys, uint32_t *n_p);
bool kvi_service_is_digest(const ProtobufCBinaryData *bytes);

#endif
