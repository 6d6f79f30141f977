/* proto/limits.h: bounds that both ends agree on. A node may set lower ones and tells them in its Hello. */
#ifndef KVASIR_PROTO_LIMITS_H
#define KVASIR_PROTO_LIMITS_H

#define KVI_PROTOCOL_MIN 1u
#define KVI_PROTOCOL_MAX 1u

#define KVI_CHUNK_BYTES_MAX (128u << 20) /* payload of one chunk */
#define KVI_SEGMENTS_MAX    4096u        /* segments of one chunk */
#define KVI_FRAME_BYTES_MAX (2u << 20)   /* bulk bytes of one frame */

/*
 * Bulk bytes that senders put in one frame unless told otherwise: a third of 2 MiB. A receiver lands one frame while the next is on its way, so
 * smaller ones overlap better; each costs a wake-up on both sides, so larger ones are cheaper. 576 to 768 KiB were best for 2 MiB
 * chunks on loopback, 256 KiB 20 % and 2 MiB 15 % slower.
 */
#define KVI_PIECE_BYTES (704u << 10)
/* And in a get's last frame, when nothing else waits to be sent: 3 to 10 % for one of 2 MiB, and a steadier one. A put gained nothing. */
#define KVI_LAST_PIECE_BYTES (192u << 10)

#define KVI_FRAME_HEADER_MAX  (256u << 10) /* packed FrameHeader */
#define KVI_FRAME_PIECES_MAX  1024u        /* pieces of one frame */
#define KVI_BATCH_CHUNKS_MAX  512u         /* chunks of one transfer */
#define KVI_LOOKUP_KEYS_MAX   8192u        /* keys of one lookup */
#define KVI_LOOKUP_SPACES_MAX 64u          /* spaces of one lookup */
#define KVI_EXTENT_CHUNKS     64u          /* consecutive chunks placed together */
#define KVI_LEASE_MS_MAX      60000u       /* longest lease a node grants */
#define KVI_TIMEOUT_MS_MAX    600000u      /* longest deadline of a call */

#endif
