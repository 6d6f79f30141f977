/*
 * tiers/ssd/format.h: the bytes of a log file (docs/formats/ssd.md): header, records, footer. Nothing here does I/O, and every reader takes
 * bytes that anybody may have written.
 */
#ifndef KVASIR_TIERS_SSD_FORMAT_H
#define KVASIR_TIERS_SSD_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/chunk.h"
#include "proto/coded.h"
#include "tiers/medium.h"

#define KVI_SSD_VERSION 3u
#define KVI_SSD_VERSION_TEXT                                                                                 \
  "%s: log file %u is of format %u, this program reads %u: remove the log files, or use the program that "   \
  "wrote them"
#define KVI_SSD_BLOCK        4096u
#define KVI_SSD_HEAD         512u /* of a header, a record, a trailer: what its checksum covers */
#define KVI_SSD_TENANT_FIELD 64u
#define KVI_SSD_ID_BYTES     16u
#define KVI_SSD_DELETION     24u /* one item of a record of deletions */
#define KVI_SSD_NAME         16u /* what an identity is called there */

static inline uint64_t kvi_ssd_round(uint64_t bytes, uint64_t unit)
{
  return (bytes + unit - 1) / unit * unit;
}

/* ---- header ---- */

struct kvi_ssd_header {
  uint32_t number;
  uint64_t file_bytes;
  uint64_t sequence; /* 0: not used */
  uint64_t nonce;
  uint8_t directory[KVI_SSD_ID_BYTES];
};

/* Fills a whole block. */
void kvi_ssd_header_write(uint8_t block[KVI_SSD_BLOCK], const struct kvi_ssd_header *header);
/*
 * KVS_OK; KVS_MISS: no header (never written, or torn); KVS_ERR_VERSION: one of another version or block size. *version_p: the header's, unless
 * KVS_MISS.
 */
kvs_status kvi_ssd_header_read(const uint8_t block[KVI_SSD_BLOCK], struct kvi_ssd_header *header_p,
                               uint32_t *version_p);

/* ---- records ---- */

enum kvi_ssd_kind { KVI_SSD_CHUNK = 1, KVI_SSD_DELETIONS = 2 };

/* Where a record stands: what its head must say. */
struct kvi_ssd_use {
  uint64_t sequence, nonce;
};

struct kvi_ssd_record {
  enum kvi_ssd_kind kind;
  struct kvi_ssd_use use;
  uint64_t at;         /* in the file */
  uint64_t bytes;      /* of the record, whole blocks */
  uint64_t generation; /* of the chunk; of deletions: the greatest of its items */
  uint64_t length;     /* payload */
  uint32_t n_segments;
  uint32_t table_crc; /* deletions: of the payload */
  uint16_t quality, coding;
  struct kvi_medium_identity identity; /* read: points into the bytes */
};

/*
 * A chunk's record that lies whole, and has been checked, at `bytes`, without its last plane (format_cut.c). may_cut: what would be left of it; false: it is not coded, has no plane to
 * spare, or its owner does not allow the loss. cut: makes it that: its table, payload and the lengths in *record; the head is still to be written. Without memory it stays as
 * it is.
 */
bool kvi_ssd_record_may_cut(const uint8_t *bytes, const struct kvi_ssd_record *record,
                            struct kvi_coded_rest *rest_p);
void kvi_ssd_record_cut(uint8_t *bytes, struct kvi_ssd_record *record, const struct kvi_coded_rest *rest);

/* Where the payload of a chunk begins in its record: at a block, so that it can be read and written as it lies in memory. */
static inline uint64_t kvi_ssd_payload_at(uint32_t n_segments)
{
  return kvi_ssd_round(KVI_SSD_HEAD + kvi_chunk_table_size(n_segments), KVI_SSD_BLOCK);
}

static inline uint64_t kvi_ssd_record_bytes(uint64_t length, uint32_t n_segments)
{
  return kvi_ssd_round(kvi_ssd_payload_at(n_segments) + length, KVI_SSD_BLOCK);
}

/* Writes the head's 512 bytes. identity is copied, and may point into them; not looked at for deletions. */
void kvi_ssd_record_write(uint8_t out[KVI_SSD_HEAD], const struct kvi_ssd_record *record);
/* Checks the head alone. KVS_OK; KVS_MISS: no record of this use at this place. */
kvs_status kvi_ssd_record_read(const uint8_t head[KVI_SSD_HEAD], const struct kvi_ssd_use *use, uint64_t at,
                               struct kvi_ssd_record *record_p);
/*
 * Checks all of a record of which `size` bytes are at hand: the table, and (if asked) every segment. KVS_OK, KVS_ERR_CORRUPT. table_p may be
 * NULL; deletions have none.
 */
kvs_status kvi_ssd_record_check(const uint8_t *bytes, size_t size, const struct kvi_ssd_record *record,
                                bool payload_too, struct kvi_chunk_table *table_p);

/* One deletion: no record of this chunk with this generation or a smaller one counts. */
struct kvi_ssd_deletion {
  uint64_t generation;
  uint8_t name[KVI_SSD_NAME]; /* all zero: every chunk */
};
/* The chunk's name: 16 bytes of a SHA-256 over its identity. */
void kvi_ssd_name(const struct kvi_medium_identity *identity, uint8_t name[KVI_SSD_NAME]);
void kvi_ssd_deletion_write(uint8_t out[KVI_SSD_DELETION], const struct kvi_ssd_deletion *deletion);
struct kvi_ssd_deletion kvi_ssd_deletion_read(const uint8_t in[KVI_SSD_DELETION]);

/* ---- footer ---- */

struct kvi_ssd_trailer {
  struct kvi_ssd_use use;
  uint64_t body_at, body_bytes;
  uint32_t body_crc, n_spaces, n_records;
};

void kvi_ssd_trailer_write(uint8_t block[KVI_SSD_BLOCK], const struct kvi_ssd_trailer *trailer);
/* use NULL: of any. KVS_OK; KVS_MISS: no trailer of this use, or one whose body would not lie in the file. */
kvs_status kvi_ssd_trailer_read(const uint8_t block[KVI_SSD_BLOCK], const struct kvi_ssd_use *use,
                                uint64_t file_bytes, struct kvi_ssd_trailer *trailer_p);

/* The body as it grows with the records of an open log file. Zeroed: empty. */
struct kvi_ssd_footer {
  uint8_t *spaces; /* as written */
  size_t spaces_bytes, spaces_room;
  uint8_t *records; /* as written; a record that came to nothing has kind 0 and is passed over by readers */
  size_t records_bytes, records_room;
  uint32_t n_spaces, n_records, last_space;
  size_t last_space_at;
};

/* Most bytes that one record adds to a body. */
#define KVI_SSD_FOOTER_RECORD_MAX (40u + 2u * KVI_MEDIUM_KEY_MAX + 4u + 32u + KVI_MEDIUM_TENANT_MAX)

/* *mark_p names it to kvi_ssd_footer_cancel. KVS_ERR_NOMEM, KVS_ERR_FULL (65535 spaces). */
kvs_status kvi_ssd_footer_add(struct kvi_ssd_footer *footer, const struct kvi_ssd_record *record,
                              size_t *mark_p);
/* It was not written after all. */
void kvi_ssd_footer_cancel(struct kvi_ssd_footer *footer, size_t mark);
/* Bytes of the body, without padding. */
size_t kvi_ssd_footer_bytes(const struct kvi_ssd_footer *footer);
/* Writes it to `out` and fills body_bytes, body_crc, n_spaces, n_records of the trailer. */
void kvi_ssd_footer_write(const struct kvi_ssd_footer *footer, uint8_t *out, struct kvi_ssd_trailer *trailer);
void kvi_ssd_footer_clear(struct kvi_ssd_footer *footer);

/* A body being read. Points into the bytes. */
struct kvi_ssd_footer_reader {
  const uint8_t *next, *end;
  const uint8_t **spaces; /* places of each space; malloc'd */
  uint32_t n_spaces, n_left;
};
/* Checks it against the trailer. KVS_ERR_CORRUPT, KVS_ERR_NOMEM. */
kvs_status kvi_ssd_footer_open(const uint8_t *body, size_t size, const struct kvi_ssd_trailer *trailer,
                               struct kvi_ssd_footer_reader *reader_p);
/*
 * The next record: kind, at, bytes, generation, length and identity (tenant is not ended by a NUL in the bytes: it is copied to
 * `tenant`). KVS_OK, KVS_MISS at the end, KVS_ERR_CORRUPT.
 */
kvs_status kvi_ssd_footer_next(struct kvi_ssd_footer_reader *reader, struct kvi_ssd_record *record_p,
                               char tenant[KVI_MEDIUM_TENANT_MAX]);
void kvi_ssd_footer_close(struct kvi_ssd_footer_reader *reader);

#endif
