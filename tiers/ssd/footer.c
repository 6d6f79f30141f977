/* tiers/ssd/footer.c: the list of records at the end of a sealed log file. */
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tiers/ssd/format.h"

#define SPACE_HEAD  4u  /* key length, tenant length */
#define RECORD_HEAD 40u /* the fields before the keys */
#define NO_SPACE    UINT16_MAX
#define CANCELED    0u /* kind of a record that came to nothing */
#define UNCHAINED   1u
#define HAS_PARENT  2u
#define LOSS_SHIFT  4u

/* ---- growing ---- */

static kvs_status room_make(uint8_t **bytes, size_t used, size_t *room, size_t more)
{
  size_t wanted = *room ? *room : 4096;
  uint8_t *grown;

  if (used + more <= *room)
    return KVS_OK;
  while (wanted < used + more)
    wanted *= 2;
  grown = realloc(*bytes, wanted);
  if (!grown)
    return KVS_ERR_NOMEM;
  *bytes = grown;
  *room = wanted;
  return KVS_OK;
}

static bool space_is(const uint8_t *space, const struct kvi_medium_identity *identity)
{
  size_t tenant = strlen(identity->tenant);

  return kvi_load_le16(space) == identity->key_length && kvi_load_le16(space + 2) == tenant &&
         memcmp(space + SPACE_HEAD, identity->space, KVS_DIGEST_SIZE) == 0 &&
         memcmp(space + SPACE_HEAD + KVS_DIGEST_SIZE, identity->tenant, tenant) == 0;
}

static size_t space_size(const uint8_t *space)
{
  return SPACE_HEAD + KVS_DIGEST_SIZE + kvi_load_le16(space + 2);
}

/* Its number, added if need be. Records of one space come together: the last one is tried first. */
static kvs_status space_number(struct kvi_ssd_footer *footer, const struct kvi_medium_identity *identity,
                               uint32_t *number_p)
{
  size_t at = 0, tenant = strlen(identity->tenant);
  uint8_t *space;

  if (footer->n_spaces > 0 && space_is(footer->spaces + footer->last_space_at, identity)) {
    *number_p = footer->last_space;
    return KVS_OK;
  }
  for (uint32_t i = 0; i < footer->n_spaces; at += space_size(footer->spaces + at), i++)
    if (space_is(footer->spaces + at, identity)) {
      *number_p = footer->last_space = i;
      footer->last_space_at = at;
      return KVS_OK;
    }
  if (footer->n_spaces == NO_SPACE)
    return KVS_ERR_FULL;
  if (room_make(&footer->spaces, footer->spaces_bytes, &footer->spaces_room,
                SPACE_HEAD + KVS_DIGEST_SIZE + tenant) != KVS_OK)
    return KVS_ERR_NOMEM;
  space = footer->spaces + at;
  kvi_store_le16(space, (uint16_t)identity->key_length);
  kvi_store_le16(space + 2, (uint16_t)tenant);
  memcpy(space + SPACE_HEAD, identity->space, KVS_DIGEST_SIZE);
  memcpy(space + SPACE_HEAD + KVS_DIGEST_SIZE, identity->tenant, tenant);
  footer->spaces_bytes += space_size(space);
  footer->last_space_at = at;
  *number_p = footer->last_space = footer->n_spaces++;
  return KVS_OK;
}

kvs_status kvi_ssd_footer_add(struct kvi_ssd_footer *footer, const struct kvi_ssd_record *record,
                              size_t *mark_p)
{
  const struct kvi_medium_identity *identity = &record->identity;
  bool chunk = record->kind == KVI_SSD_CHUNK;
  size_t size = RECORD_HEAD + (chunk ? 2 * (size_t)identity->key_length : 0);
  uint32_t space = NO_SPACE;
  kvs_status status = chunk ? space_number(footer, identity, &space) : KVS_OK;
  uint8_t *out;

  if (status == KVS_OK)
    status = room_make(&footer->records, footer->records_bytes, &footer->records_room, size);
  if (status != KVS_OK)
    return status;
  out = footer->records + footer->records_bytes;
  memset(out, 0, size);
  kvi_store_le64(out, record->at);
  kvi_store_le64(out + 8, record->bytes);
  kvi_store_le64(out + 16, record->generation);
  kvi_store_le64(out + 24, record->length);
  kvi_store_le16(out + 36, (uint16_t)space);
  out[39] = (uint8_t)record->kind;
  if (chunk) {
    kvi_store_le32(out + 32, identity->place);
    out[38] = (uint8_t)((identity->unchained ? UNCHAINED : 0) | (identity->parent ? HAS_PARENT : 0) |
                        kvi_quality_loss(record->quality) << LOSS_SHIFT);
    memcpy(out + RECORD_HEAD, identity->key, identity->key_length);
    if (identity->parent)
      memcpy(out + RECORD_HEAD + identity->key_length, identity->parent, identity->key_length);
  }
  *mark_p = footer->records_bytes;
  footer->records_bytes += size;
  footer->n_records++;
  return KVS_OK;
}

void kvi_ssd_footer_cancel(struct kvi_ssd_footer *footer, size_t mark)
{
  footer->records[mark + 39] = CANCELED;
}

size_t kvi_ssd_footer_bytes(const struct kvi_ssd_footer *footer)
{
  return footer->spaces_bytes + footer->records_bytes;
}

void kvi_ssd_footer_write(const struct kvi_ssd_footer *footer, uint8_t *out, struct kvi_ssd_trailer *trailer)
{
  if (footer->spaces_bytes > 0) /* there is none if all are deletions */
    memcpy(out, footer->spaces, footer->spaces_bytes);
  memcpy(out + footer->spaces_bytes, footer->records, footer->records_bytes);
  trailer->body_bytes = kvi_ssd_footer_bytes(footer);
  trailer->body_crc = kvi_crc32c_update(0, out, trailer->body_bytes);
  trailer->n_spaces = footer->n_spaces;
  trailer->n_records = footer->n_records;
}

void kvi_ssd_footer_clear(struct kvi_ssd_footer *footer)
{
  free(footer->spaces);
  free(footer->records);
  memset(footer, 0, sizeof(*footer));
}

/* ---- reading ---- */

/* Where each space begins; the reader stands at the first record then. */
static kvs_status spaces_read(struct kvi_ssd_footer_reader *reader)
{
  reader->spaces = calloc(reader->n_spaces + 1, sizeof(*reader->spaces));
  if (!reader->spaces)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < reader->n_spaces; i++) {
    size_t left = (size_t)(reader->end - reader->next);
    uint32_t key, tenant;

    if (left < SPACE_HEAD)
      return KVS_ERR_CORRUPT;
    key = kvi_load_le16(reader->next);
    tenant = kvi_load_le16(reader->next + 2);
    if (key < KVS_KEY_MIN || key > KVS_KEY_MAX || tenant == 0 || tenant >= KVI_MEDIUM_TENANT_MAX ||
        left < space_size(reader->next) ||
        memchr(reader->next + SPACE_HEAD + KVS_DIGEST_SIZE, 0, tenant) != NULL)
      return KVS_ERR_CORRUPT;
    reader->spaces[i] = reader->next;
    reader->next += space_size(reader->next);
  }
  return KVS_OK;
}

kvs_status kvi_ssd_footer_open(const uint8_t *body, size_t size, const struct kvi_ssd_trailer *trailer,
                               struct kvi_ssd_footer_reader *reader_p)
{
  kvs_status status;

  memset(reader_p, 0, sizeof(*reader_p));
  if (size < trailer->body_bytes || kvi_crc32c_update(0, body, trailer->body_bytes) != trailer->body_crc)
    return KVS_ERR_CORRUPT;
  reader_p->next = body;
  reader_p->end = body + trailer->body_bytes;
  reader_p->n_spaces = trailer->n_spaces;
  reader_p->n_left = trailer->n_records;
  status = spaces_read(reader_p);
  if (status != KVS_OK)
    kvi_ssd_footer_close(reader_p);
  return status;
}

/* Of a record that record_size has measured. */
static bool identity_read(const struct kvi_ssd_footer_reader *reader, const uint8_t *in,
                          struct kvi_medium_identity *identity, char tenant[KVI_MEDIUM_TENANT_MAX])
{
  uint32_t number = kvi_load_le16(in + 36), tenant_length;
  const uint8_t *space;

  if (in[38] & ~(UNCHAINED | HAS_PARENT | KVI_LOSS_MAX << LOSS_SHIFT))
    return false;
  space = reader->spaces[number];
  tenant_length = kvi_load_le16(space + 2);
  memcpy(tenant, space + SPACE_HEAD + KVS_DIGEST_SIZE, tenant_length);
  tenant[tenant_length] = '\0';
  identity->key_length = kvi_load_le16(space);
  identity->tenant = tenant;
  identity->space = space + SPACE_HEAD;
  identity->key = in + RECORD_HEAD;
  identity->parent = in[38] & HAS_PARENT ? in + RECORD_HEAD + identity->key_length : NULL;
  identity->place = kvi_load_le32(in + 32);
  identity->unchained = in[38] & UNCHAINED;
  return true;
}

/* Bytes of the record at `in`, of which the head is there; 0: it names no space of the list. */
static size_t record_size(const struct kvi_ssd_footer_reader *reader, const uint8_t *in)
{
  uint32_t space = kvi_load_le16(in + 36);

  if (space == NO_SPACE)
    return RECORD_HEAD;
  return space < reader->n_spaces ? RECORD_HEAD + 2 * (size_t)kvi_load_le16(reader->spaces[space]) : 0;
}

kvs_status kvi_ssd_footer_next(struct kvi_ssd_footer_reader *reader, struct kvi_ssd_record *record_p,
                               char tenant[KVI_MEDIUM_TENANT_MAX])
{
  while (reader->n_left > 0) {
    const uint8_t *in = reader->next;
    size_t left = (size_t)(reader->end - in), size = left < RECORD_HEAD ? 0 : record_size(reader, in);
    struct kvi_ssd_record record = {0};

    if (size == 0 || size > left)
      return KVS_ERR_CORRUPT;
    reader->next += size;
    reader->n_left--;
    record.at = kvi_load_le64(in);
    record.bytes = kvi_load_le64(in + 8);
    record.generation = kvi_load_le64(in + 16);
    record.length = kvi_load_le64(in + 24);
    record.kind = in[39];
    record.quality = in[38] >> LOSS_SHIFT; /* the loss alone: the rest is in the head */
    if (in[39] == CANCELED)
      continue;
    if (record.kind == KVI_SSD_CHUNK
            ? size == RECORD_HEAD || !identity_read(reader, in, &record.identity, tenant)
            : record.kind != KVI_SSD_DELETIONS || size != RECORD_HEAD)
      return KVS_ERR_CORRUPT;
    *record_p = record;
    return KVS_OK;
  }
  return KVS_MISS;
}

void kvi_ssd_footer_close(struct kvi_ssd_footer_reader *reader)
{
  free(reader->spaces);
  memset(reader, 0, sizeof(*reader));
}
