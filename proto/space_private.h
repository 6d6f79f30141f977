/* proto/space_private.h: the fields of a space as a table, in the order in which they are hashed. */
#ifndef KVASIR_PROTO_SPACE_PRIVATE_H
#define KVASIR_PROTO_SPACE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/space.h>

/* How a field is kept, and what a zero in it means. */
enum kvi_space_kind {
  KVI_SPACE_TEXT,    /* const char *; NULL is "" */
  KVI_SPACE_WEIGHTS, /* KVS_DIGEST_SIZE bytes */
  KVI_SPACE_LAYOUT,  /* enums, 4 bytes each */
  KVI_SPACE_DTYPE,
  KVI_SPACE_HASH,
  KVI_SPACE_COUNT, /* uint32_t */
  KVI_SPACE_SIZE,  /* uint32_t of ranks: 0 is read as 1 */
  KVI_SPACE_BLOCK, /* uint32_t: 0 is read as tokens_per_chunk */
  KVI_SPACE_BYTES, /* uint64_t */
};

struct kvi_space_field {
  const char *name;
  enum kvi_space_kind kind;
  size_t offset; /* in kvs_space_desc */
};

#define KVI_SPACE_FIELDS 25u
/* Item i of the hashed list is field i: see docs/formats/space.md. */
extern const struct kvi_space_field kvi_space_fields[KVI_SPACE_FIELDS];

/* A text field, never NULL. */
const char *kvi_space_text(const kvs_space_desc *desc, const struct kvi_space_field *field);
/* A number or enum field as it is hashed: zeros read as the table says. */
uint64_t kvi_space_number(const kvs_space_desc *desc, const struct kvi_space_field *field);

/* Everything kvs_space_digest refuses. */
kvs_status kvi_space_check(const kvs_space_desc *desc);

/* The name of an enum's value as in "bf16", "tensors", "native"; NULL for an unknown one or a field of
 * another kind. */
const char *kvi_space_value_name(enum kvi_space_kind kind, uint64_t value);

#endif
