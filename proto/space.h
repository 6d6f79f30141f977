/* proto/space.h: space descriptors inside Kvasir: owned copies, their digest, their wire form, how two differ. */
#ifndef KVASIR_PROTO_SPACE_H
#define KVASIR_PROTO_SPACE_H

#include <stddef.h>

#include "proto/kvasir/v1/cache.pb-c.h"
#include <kvasir/space.h>

/* A deep copy with sizes 0 read as 1 and NULL strings as "". Errors as kvs_space_digest, and KVS_ERR_NOMEM. */
kvs_status kvi_space_copy(const kvs_space_desc *desc, kvs_space_desc **copy_p);
void kvi_space_free(kvs_space_desc *desc);

/* To the wire message. Strings and bytes point into desc; free nothing. */
void kvi_space_to_message(const kvs_space_desc *desc, Kvasir__V1__SpaceDescriptor *message);
/* From the wire message: an owned, checked copy. Errors as kvi_space_copy. */
kvs_status kvi_space_from_message(const Kvasir__V1__SpaceDescriptor *message, kvs_space_desc **copy_p);

/*
 * The fields in which two descriptors differ, as "model 'a' / 'b', dtype f16 / bf16", cut at size with "...". Returns
 * the number of fields that differ.
 */
size_t kvi_space_diff(const kvs_space_desc *a, const kvs_space_desc *b, char *text, size_t size);

#endif
