/* tiers/service_spaces.c: the control methods about spaces: one is told, and all are listed. */
#include <stdio.h>
#include <stdlib.h>

#include <kvasir/keys.h>

#include "base/log.h"
#include "base/text.h"
#include "proto/space.h"
#include "tiers/service_private.h"

#define LIST_SPACES_MAX 256u /* of one reply, which so stays below half a MiB */

/* Says what became of it: in the reply, and in the log when the space is new or does not fit. */
static kvs_status space_told(const struct kvi_peer *peer, const ProtobufCBinaryData *digest,
                             const kvs_space_desc *desc, const struct kvi_space_opened *opened,
                             Kvasir__V1__OpenSpaceReply *answer)
{
  char given[2 * KVS_DIGEST_SIZE + 1], own[2 * KVS_DIGEST_SIZE + 1], message[1024];
  uint8_t own_digest[KVS_DIGEST_SIZE];

  (void)kvi_hex_encode(digest->data, digest->len, given, sizeof(given));
  if (answer->status == KVS_ERR_SPACE_MISMATCH && kvs_space_digest(desc, own_digest) == KVS_OK) {
    (void)kvi_hex_encode(own_digest, sizeof(own_digest), own, sizeof(own));
    snprintf(message, sizeof(message), "the descriptor's digest is %s, not %s", own, given);
    kvi_log_limited(KVI_LOG_WARN, "peer %s: space refused: %s", peer->name, message);
    return kvi_service_text_set(&answer->message, message);
  }
  if (!opened->created)
    return KVS_OK;
  given[16] = '\0'; /* enough to tell spaces apart */
  if (opened->nearest_differences == 0) {
    kvi_log_info("space %s of tenant %s: new, the first", given, peer->tenant);
    return KVS_OK;
  }
  kvi_log_info("space %s of tenant %s: new, differs from the nearest known one in %zu fields: %s", given,
               peer->tenant, opened->nearest_differences, opened->nearest);
  return kvi_service_text_set(&answer->message, opened->nearest);
}

kvs_status kvi_service_open_space(struct kvi_store_service *service, const struct kvi_peer *peer,
                                  const void *request, void *reply)
{
  const Kvasir__V1__OpenSpaceRequest *ask = request;
  Kvasir__V1__OpenSpaceReply *answer = reply;
  struct kvi_space_opened opened = {0};
  kvs_space_desc *desc = NULL;
  kvs_status status = KVS_ERR_INVALID;

  if (!ask->descriptor || !kvi_service_is_digest(&ask->digest)) {
    answer->status = KVS_ERR_INVALID;
    return kvi_service_text_set(&answer->message, "a digest of 32 bytes and a descriptor are needed");
  }
  status = kvi_space_from_message(ask->descriptor, &desc);
  if (status == KVS_OK)
    status = kvi_store_space_open(service->config.store, peer->tenant, ask->digest.data, desc, &opened);
  answer->status = status;
  answer->created = opened.created;
  if (desc)
    status = space_told(peer, &ask->digest, desc, &opened, answer);
  else
    status = kvi_service_text_set(&answer->message, "the descriptor is not a valid one");
  kvi_space_free(desc);
  return status;
}

kvs_status kvi_service_list_spaces(struct kvi_store_service *service, const struct kvi_peer *peer,
                                   const void *request, void *reply)
{
  const Kvasir__V1__ListSpacesRequest *ask = request;
  Kvasir__V1__ListSpacesReply *answer = reply;
  struct kvi_space_info *infos = calloc(LIST_SPACES_MAX, sizeof(*infos));
  kvs_status status = KVS_ERR_NOMEM;
  uint64_t cursor = ask->cursor;
  size_t n;

  answer->spaces = calloc(LIST_SPACES_MAX, sizeof(Kvasir__V1__SpaceInfo *));
  if (!infos || !answer->spaces)
    goto out;
  n = kvi_store_spaces(service->config.store, peer->tenant, &cursor, infos, LIST_SPACES_MAX);
  answer->cursor = cursor;
  for (size_t i = 0; i < n; i++) {
    Kvasir__V1__SpaceInfo *info = malloc(sizeof(*info));
    Kvasir__V1__SpaceDescriptor view;
    size_t packed;
    uint8_t *copy;

    if (!info)
      goto out;
    kvasir__v1__space_info__init(info);
    answer->spaces[answer->n_spaces++] = info;
    info->chunks = infos[i].chunks;
    info->bytes = infos[i].bytes;
    if (kvi_service_bytes_set(&info->digest, infos[i].digest, KVS_DIGEST_SIZE) != KVS_OK)
      goto out;
    if (!infos[i].desc) /* found on a medium at start, and no client has told it since */
      continue;
    /* The view's strings are the store's: a trip through its wire form makes them the reply's own. */
    kvi_space_to_message(infos[i].desc, &view);
    packed = kvasir__v1__space_descriptor__get_packed_size(&view);
    copy = malloc(packed ? packed : 1);
    if (!copy)
      goto out;
    kvasir__v1__space_descriptor__pack(&view, copy);
    info->descriptor = kvasir__v1__space_descriptor__unpack(NULL, packed, copy);
    free(copy);
    if (!info->descriptor)
      goto out;
  }
  status = KVS_OK;
out:
  free(infos);
  return status;
}
