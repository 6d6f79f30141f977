/*
 * tiers/ssd/volume_private.h: what the files of a volume share.
 *
 * Files: volume.c (life), thread.c (the thread), operations.c (what the disk is given, and said), live.c (what the store has in each file), requests.c (what it is
 * asked), header.c (a file's use begins and ends), write.c (the open log file), seal.c, deletions.c, read.c, walk.c (the records of a sealed file, one
 * after the other), choose.c, move.c, reclaim.c, scrub.c, recover.c.
 *
 * All belongs to the volume's thread, save what `lock` guards. The lock is a leaf: nothing is called while it is held.
 */
#ifndef KVASIR_TIERS_SSD_VOLUME_PRIVATE_H
#define KVASIR_TIERS_SSD_VOLUME_PRIVATE_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/thread.h"
#include "tiers/rate.h"
#include "tiers/ssd/buffers.h"
#include "tiers/ssd/disk.h"
#include "tiers/ssd/format.h"
#include "tiers/ssd/volume.h"

#define KVI_SSD_NONE       UINT32_MAX
#define KVI_SSD_QUEUE_MAX  1024u /* requests that wait */
#define KVI_SSD_ERRORS_MAX 8u    /* device errors in a row that take a directory out */

/* ---- handles: place in the tier 32, length in blocks 16, low half of the file's sequence 16 ---- */

static inline kvi_medium_handle kvi_ssd_handle(uint32_t place, uint64_t bytes, uint64_t sequence)
{
  return (uint64_t)place << 32 | (bytes / KVI_SSD_BLOCK & 0xffff) << 16 | (sequence & 0xffff);
}
static inline uint32_t kvi_ssd_handle_place(kvi_medium_handle handle)
{
  return (uint32_t)(handle >> 32);
}
static inline uint64_t kvi_ssd_handle_bytes(kvi_medium_handle handle)
{
  return (handle >> 16 & 0xffff) * KVI_SSD_BLOCK;
}

/* ---- log files ---- */

enum kvi_ssd_file_state {
  KVI_SSD_FREE = 0, /* its header says so */
  KVI_SSD_READYING, /* its header is being written */
  KVI_SSD_READY,    /* the next to be written */
  KVI_SSD_OPEN,
  KVI_SSD_SEALING,
  KVI_SSD_SEALED,
  KVI_SSD_FREEING, /* its header is about to say that it is free: until that is safe, its records may be found again */
  KVI_SSD_BAD, /* it, or some of it, cannot be read, and may be needed: left alone until the next start */
};

struct kvi_ssd_walk;

struct kvi_ssd_file {
  enum kvi_ssd_file_state state;
  uint32_t reading;  /* reads under way */
  uint32_t unsynced; /* records that are written, and whose put waits for a sync */
  bool dirty;        /* sealing it has failed: what was written to it may not be safe */
  struct kvi_ssd_use use;
  uint64_t live_bytes; /* under the lock: records that the store has */
  uint32_t live;       /* under the lock */

  /* what lies in it, in use or not, as long as it may be found at a start */
  uint64_t oldest;         /* least generation of its chunks; UINT64_MAX: it has none */
  uint64_t newest_deleted; /* greatest generation of its deletions */
  uint32_t deletions;      /* how many */

  uint64_t discard_ns; /* of a free file: when the device is told that it is; 0: it was, or is not to be */

  struct kvi_ssd_footer *list; /* of a file in state SEALED whose footer could not be written; else NULL */
};

/* A log file that is being written, or sealed. */
struct kvi_ssd_writer {
  struct kvi_ssd_volume *volume;
  uint32_t file;
  uint64_t next;    /* where the next record goes */
  uint32_t writing; /* records under way */
  struct kvi_ssd_footer footer;
  bool sealing;  /* takes no records any more */
  bool sealed;   /* the footer is on the disk */
  uint8_t *body; /* the footer as written; sealing */
  size_t body_room;
  uint32_t step;
  struct kvi_ssd_io io;
};

/*
 * One read or write of a record under way. All of the record is in the buffer; or, with places, only what comes before the payload, which lies in the
 * caller's memory and is read and written there.
 */
struct kvi_ssd_op {
  struct kvi_ssd_io io;
  struct kvi_ssd_volume *volume;
  struct kvi_ssd_buffer buffer;
  uint64_t head;               /* of a read: bytes in the buffer */
  uint32_t n_places;           /* 0: all is in the buffer */
  struct kvi_medium_hold hold; /* of the places of one that was given up at its deadline */
  struct kvi_medium_put *put;  /* NULL with get NULL: given up at its deadline, or the volume's own */
  struct kvi_medium_get *get;
  struct kvi_ssd_writer *writer; /* of a write */
  size_t mark;                   /* in its footer */
  kvi_medium_handle handle;
  uint64_t started_ns;
  struct kvi_ssd_walk *walk;                          /* of one of the volume's own */
  void (*own_done)(struct kvi_ssd_op *op, int error); /* of a write of its own: takes the op over */
  bool wants_sync;                                    /* the write has ended when it is safe */
  kvi_list_node link;   /* in ops_free, running or unsynced; what follows is kept */
  struct iovec *places; /* grown to what an operation needs, so allocated a few times in a volume's life */
  uint32_t places_room;
};

struct kvi_ssd_volume {
  struct kvi_ssd_config config; /* defaults filled in */
  struct kvi_ssd_disk *disk;
  uint32_t index;
  char *name; /* the directory */
  struct kvi_medium_owner owner;
  uint32_t first_block, file_blocks, n_files;
  uint64_t record_bytes_max;
  uint8_t directory[KVI_SSD_ID_BYTES];
  struct kvi_ssd_file *files;
  uint64_t sequence; /* of the file that was opened last */
  kvi_thread thread;

  pthread_mutex_t lock; /* guards the next group */
  kvi_list puts_new, gets_new;
  uint32_t queued; /* all that was accepted and has not ended */
  uint64_t queued_put_bytes, queued_get_bytes;
  struct kvi_rate writing;            /* of what was accepted to be written */
  uint64_t generation;                /* of the chunk or deletion that came last */
  struct kvi_ssd_deletion *deletions; /* a ring of config.deletions_max: those that are not safe yet */
  uint32_t first_deletion, n_deletions;
  uint64_t deletions_come,
      deletions_safe; /* counted; the difference is n_deletions, but for those that a full ring has swallowed */
  bool emptied;       /* a full ring stands for the deletion of all: the store is to be told */
  kvi_list settles;   /* of kvi_medium_settle, oldest first */
  bool asleep;        /* the thread waits, or is about to */
  bool closed;        /* nothing new is taken */
  struct kvi_medium_stats stats;

  atomic_bool stop, failed;
  atomic_bool read_only; /* its file system refuses writes: what is there is read, and nothing else done */
  atomic_bool no_room;   /* reclaim found nothing that may go: puts are refused until a chunk goes */

  /* the thread's own */
  struct kvi_ssd_op *ops; /* config.depth of them for requests, some more for its own work */
  kvi_list ops_free, running, puts, gets;
  kvi_list unsynced; /* puts that are written, and safe after the next sync */
  bool syncing;
  struct kvi_ssd_io sync_io;
  uint32_t sync_file;
  uint32_t n_syncing;
  struct kvi_ssd_buffers buffers;
  struct kvi_ssd_writer *writer;   /* the open one; NULL */
  uint32_t n_sealing, seal_errors; /* seal_errors: files whose sealing has failed */
  uint64_t deletions_kept;         /* in all files */
  uint32_t deleting;               /* of the ring, being written */
  uint64_t deletions_seen;         /* those that came before were started, or had no place to go */
  uint32_t n_freeing;              /* files in that state */
  uint32_t n_bad;                  /* files in that state */
  uint32_t n_discards;             /* files that the device will be told of */
  uint32_t freeing;                /* the one whose header is being written; KVI_SSD_NONE */
  uint32_t freeing_tries;
  struct kvi_ssd_io freeing_io;
  uint8_t *freeing_block;
  kvi_ssd_settled_fn *settled;
  void *settled_ctx;
  uint32_t ready_from;    /* the first file to look at for the next one to prepare */
  uint32_t ready, n_free; /* file that is prepared, KVI_SSD_NONE; files that are free */
  struct kvi_ssd_io header_io;
  uint8_t *header_block;
  uint32_t errors_in_row, reclaim_errors;
  struct kvi_ssd_walk *reclaim, *scrub;
  int64_t
      copy_credit; /* bytes that may be copied beyond the budget of the files that were freed, see choose.c; at most half a turnover's */
  uint64_t scrub_next_ns, expire_next_ns;
  uint32_t scrub_file;
  uint64_t in_flight; /* operations the disk has */
  uint32_t reads;     /* of requests, under way */
  uint64_t reads_since_ns, reads_bytes;
};

/* ---- thread.c ---- */

#define KVI_SSD_EXPIRE_NS (20 * KVI_NS_PER_MS) /* how often deadlines are looked at */

/* The thread's function, of a volume. */
void kvi_ssd_run(void *arg);
/* Nothing of this directory is to be asked for again. */
void kvi_ssd_all_lost_tell(struct kvi_ssd_volume *volume);

/* ---- requests.c ---- */

/* Takes over what came. */
void kvi_ssd_requests_take(struct kvi_ssd_volume *volume);
/* Ends a request, and counts. */
void kvi_ssd_put_end(struct kvi_ssd_volume *volume, struct kvi_medium_put *put, kvs_status status);
void kvi_ssd_get_end(struct kvi_ssd_volume *volume, struct kvi_medium_get *get, kvs_status status);
/* All puts that wait end so; what the disk has goes on. */
void kvi_ssd_waiting_puts_end(struct kvi_ssd_volume *volume, kvs_status status);
/* All that waits, gets too. */
void kvi_ssd_waiting_end(struct kvi_ssd_volume *volume, kvs_status status);
/* Requests past their deadline end, those that the disk has included: their op goes on without them. all: whatever their deadline. */
void kvi_ssd_expire(struct kvi_ssd_volume *volume, uint64_t now, kvs_status status, bool all);

/* ---- operations.c ---- */

#define KVI_SSD_OPS_OWN 4u /* beside config.depth: for moving, scrubbing, deletions */

void kvi_ssd_submit(struct kvi_ssd_volume *volume, struct kvi_ssd_io *io);
/* NULL: all are in use. own: may take the last ones, which requests may not. */
struct kvi_ssd_op *kvi_ssd_op_take(struct kvi_ssd_volume *volume, size_t bytes, bool own);
void kvi_ssd_op_free(struct kvi_ssd_op *op);
/* The payload lies there, and `head` bytes of the buffer are before it. False: no memory. */
bool kvi_ssd_op_places(struct kvi_ssd_op *op, size_t head, const struct kvi_iov *iov, uint32_t n_iov);
/* A read, write or sync ended so; too many errors in a row and the directory is out. EROFS: it is read-only from here on. */
void kvi_ssd_device_said(struct kvi_ssd_volume *volume, const char *what, uint32_t file, int error);
/* It is out, or read-only. */
static inline bool kvi_ssd_refuses_writes(const struct kvi_ssd_volume *volume)
{
  return atomic_load_explicit(&volume->failed, memory_order_relaxed) ||
         atomic_load_explicit(&volume->read_only, memory_order_relaxed);
}

/* ---- live.c ---- */

/* The record is the store's from now on: counted in its file. */
void kvi_ssd_live_add(struct kvi_ssd_volume *volume, uint32_t file, uint64_t bytes);
/* Bytes of the records that the store still has in a file. */
uint64_t kvi_ssd_live_bytes(struct kvi_ssd_volume *volume, uint32_t file);
/* None of them is the store's any more, and its handles are those of nothing. */
void kvi_ssd_live_clear(struct kvi_ssd_volume *volume, uint32_t file);
static inline kvi_medium_handle kvi_ssd_handle_of(const struct kvi_ssd_volume *volume, uint32_t file,
                                                  uint64_t at, uint64_t bytes)
{
  uint64_t place = volume->first_block + (uint64_t)file * volume->file_blocks + at / KVI_SSD_BLOCK;

  return kvi_ssd_handle((uint32_t)place, bytes, volume->files[file].use.sequence);
}
/* False: no file of this volume has, or had, that record. */
bool kvi_ssd_handle_find(const struct kvi_ssd_volume *volume, kvi_medium_handle handle, uint32_t *file_p,
                         uint64_t *at_p);
/* The generation of what comes next. */
uint64_t kvi_ssd_generation_next(struct kvi_ssd_volume *volume);
/* A record lies in the file, or may: what the file tells of generations and deletions. */
void kvi_ssd_contents_note(struct kvi_ssd_volume *volume, uint32_t file, const struct kvi_ssd_record *record);

/* ---- header.c ---- */

static inline bool kvi_ssd_syncs(const struct kvi_ssd_volume *volume)
{
  return volume->config.durability != KVI_SSD_DURABLE_NONE;
}

/* Makes a file ready, if none is and one is free. */
void kvi_ssd_ready_step(struct kvi_ssd_volume *volume);
/* The file that is ready will not be used: its header says so. For the end. */
void kvi_ssd_ready_cancel(struct kvi_ssd_volume *volume);
/* A file's use is over: it is free for another when its header says so, which kvi_ssd_free_step sees to. */
void kvi_ssd_file_free(struct kvi_ssd_volume *volume, uint32_t file);
void kvi_ssd_free_step(struct kvi_ssd_volume *volume);
/* Tells the device of a file that has been free for long enough. One that is used again at once is not worth the time it takes. */
void kvi_ssd_discard_step(struct kvi_ssd_volume *volume, uint64_t now);
/* The block that says that a file is not used. */
void kvi_ssd_header_unused(const struct kvi_ssd_volume *volume, uint32_t file, uint8_t block[KVI_SSD_BLOCK]);

/* ---- deletions.c ---- */

/*
 * The rule that keeps deleted chunks away (docs/formats/ssd.md): a deletion takes the next generation, as a put does when it is accepted and a copy
 * before the store is asked whether it still has the chunk; at a start no record counts whose chunk has a deletion of its generation or a
 * greater one. So a deletion has to lie somewhere as long as a chunk with a smaller generation lies in another file, whatever chunk it is.
 */

/* One block holds so many. */
#define KVI_SSD_DELETIONS_BLOCK ((KVI_SSD_BLOCK - KVI_SSD_HEAD) / KVI_SSD_DELETION)
static inline uint64_t kvi_ssd_deletions_bytes(uint64_t n)
{
  return (n + KVI_SSD_DELETIONS_BLOCK - 1) / KVI_SSD_DELETIONS_BLOCK * KVI_SSD_BLOCK;
}

/* Writes the deletions that wait, as far as there is a file to write them to. */
void kvi_ssd_deletions_step(struct kvi_ssd_volume *volume);
/* The least generation of those that have to be written again when this file goes: others concern no chunk elsewhere. */
uint64_t kvi_ssd_deletions_needed_from(struct kvi_ssd_volume *volume, uint32_t file);
/* One more item of a record that is made; its checksum comes last. */
void kvi_ssd_deletions_append(struct kvi_ssd_record *record, uint8_t *payload,
                              const struct kvi_ssd_deletion *deletion);
bool kvi_ssd_deletions_are_safe(struct kvi_ssd_volume *volume, uint64_t come);
/* At the end: they wait for room that nothing under way can make. */
bool kvi_ssd_deletions_are_stuck(struct kvi_ssd_volume *volume);
/* The file to free since what its chunks are older than is too much; KVI_SSD_NONE: it is not. */
uint32_t kvi_ssd_deletions_crowd(struct kvi_ssd_volume *volume);
/* Ends settles: those whose deletions are safe, those past their deadline. */
void kvi_ssd_settles_step(struct kvi_ssd_volume *volume, uint64_t now);
/* All of them end so. */
void kvi_ssd_settles_end(struct kvi_ssd_volume *volume, kvs_status status);

/* ---- write.c ---- */

/* Starts what can be started of volume->puts. */
void kvi_ssd_write_step(struct kvi_ssd_volume *volume);
/* An open file with room for so many bytes: opened if need be. own: may open the last empty one, and write to it. */
bool kvi_ssd_writer_have(struct kvi_ssd_volume *volume, uint64_t bytes, bool own);
/* Bytes that so many more records may have together in the open file. */
uint64_t kvi_ssd_writer_room(const struct kvi_ssd_volume *volume, uint32_t records);
/*
 * Writes op->buffer, a whole record but for its head, to the open log file. own: as above. False: no file is open for it now; the op is still
 * the caller's.
 */
bool kvi_ssd_write_record(struct kvi_ssd_op *op, struct kvi_ssd_record *record, bool own);
/* The put's generation, from when it was accepted. */
static inline void kvi_ssd_put_generation_set(struct kvi_medium_put *put, uint64_t generation)
{
  static_assert(sizeof(generation) == sizeof(put->medium_link[3]), "a place beside the list's node");
  memcpy(&put->medium_link[3], &generation, sizeof(generation));
}
static inline uint64_t kvi_ssd_put_generation(const struct kvi_medium_put *put)
{
  uint64_t generation;

  memcpy(&generation, &put->medium_link[3], sizeof(generation));
  return generation;
}

/* ---- seal.c ---- */

/* No more records go to the open file; it is sealed when those under way have ended. */
void kvi_ssd_seal(struct kvi_ssd_volume *volume);
/* The next thing to do for a file that is being sealed. */
void kvi_ssd_seal_next(struct kvi_ssd_writer *writer);
/* The file has no footer on the disk, and its list is kept in memory; *footer is empty then. */
void kvi_ssd_list_keep(struct kvi_ssd_volume *volume, uint32_t file, struct kvi_ssd_footer *footer);
void kvi_ssd_list_forget(struct kvi_ssd_volume *volume, uint32_t file);

/* ---- read.c ---- */

void kvi_ssd_read_step(struct kvi_ssd_volume *volume);

/* ---- walk.c ---- */

/*
 * Goes through the records of a sealed file one after the other. on_record is called for each with the record's place and identity (from the footer) and
 * returns true if its bytes are wanted: then on_bytes is called, error 0, with an op whose buffer holds them and which it owns from then on. The
 * walk goes on by kvi_ssd_walk_next. on_end comes last, status OK or why the footer could not be read; the walk is the callee's to free then.
 */
struct kvi_ssd_walk {
  struct kvi_ssd_volume *volume;
  uint32_t file;
  bool (*on_record)(struct kvi_ssd_walk *walk, const struct kvi_ssd_record *record);
  void (*on_bytes)(struct kvi_ssd_walk *walk, struct kvi_ssd_op *op, int error);
  void (*on_end)(struct kvi_ssd_walk *walk, kvs_status status);

  struct kvi_ssd_record record; /* the one it is at */
  struct kvi_ssd_record
      writing; /* what is written of it elsewhere, perhaps with a plane less; points into the op */
  char tenant[KVI_MEDIUM_TENANT_MAX];
  struct kvi_ssd_trailer trailer;
  struct kvi_ssd_footer_reader reader;
  uint8_t *body;
  size_t body_room;
  struct kvi_ssd_io io;
  bool wants_op; /* waits for a free op and buffer */

  /* reclaim's */
  uint64_t generation;        /* of the copy */
  struct kvi_ssd_op *blocked; /* a record that waits for a log file */
  bool failed;                /* a record could not be moved */
  bool keeps, unreadable;     /* a deletion was not read or written this time; cannot be read */
  bool walked;                /* all was moved, but for the rest of the deletions */
  bool writing_rest;
  uint32_t seal_errors; /* the volume's when it began */
  /* deletions that are needed and were not written yet: less than a block of them, and those of the record that was just read */
  struct kvi_ssd_deletion kept[2 * KVI_SSD_DELETIONS_BLOCK];
  uint32_t n_kept;
  bool syncing, synced; /* what was moved is safe */
  bool was_dirty;       /* the file that is being synced */

  /* scrub's */
  bool paused;    /* until the rate lets it go on */
  bool again;     /* with the same record */
  uint32_t tries; /* to read it, that failed */
};
kvs_status kvi_ssd_walk_start(struct kvi_ssd_walk *walk);
void kvi_ssd_walk_next(struct kvi_ssd_walk *walk);
/* The record that it is at is read once more, for on_bytes. */
void kvi_ssd_walk_again(struct kvi_ssd_walk *walk);
/* Called now and then: goes on if it waits for an op. */
void kvi_ssd_walk_step(struct kvi_ssd_walk *walk);
void kvi_ssd_walk_free(struct kvi_ssd_walk *walk);

/* ---- choose.c: sealed files; KVI_SSD_NONE: none, or not now ---- */

/* No file is empty, nor is one about to be: what is moved has to fit the open one. */
static inline bool kvi_ssd_cramped(const struct kvi_ssd_volume *volume)
{
  return volume->ready == KVI_SSD_NONE && volume->n_free == 0 && volume->n_freeing == 0;
}
/* Of a file that is freed so much may be copied. */
static inline uint64_t kvi_ssd_copy_budget(const struct kvi_ssd_volume *volume)
{
  return volume->config.file_bytes / 100 * volume->config.copy_percent;
}
static inline int64_t kvi_ssd_copy_credit_max(const struct kvi_ssd_volume *volume)
{
  return (int64_t)(kvi_ssd_copy_budget(volume) * volume->n_files / 2);
}
/* So much was copied; a file was freed. What nobody could help does not count against the time after it for ever. */
static inline void kvi_ssd_copied(struct kvi_ssd_volume *volume, uint64_t bytes)
{
  int64_t least = -kvi_ssd_copy_credit_max(volume), credit = volume->copy_credit - (int64_t)bytes;

  volume->copy_credit = credit > least ? credit : least;
}
static inline void kvi_ssd_copy_earned(struct kvi_ssd_volume *volume)
{
  int64_t most = kvi_ssd_copy_credit_max(volume);
  int64_t credit = volume->copy_credit + (int64_t)kvi_ssd_copy_budget(volume);

  volume->copy_credit = credit < most ? credit : most;
}
/* The one to free for room; the store may be asked to let chunks go. */
uint32_t kvi_ssd_choose(struct kvi_ssd_volume *volume);
/* The one to free since its old chunks have too many deletions kept. */
uint32_t kvi_ssd_choose_crowding(struct kvi_ssd_volume *volume);
/* What is needed of this file has a place to go; the file that is easiest to free has one after so many bytes more were written. */
bool kvi_ssd_moving_fits(struct kvi_ssd_volume *volume, uint32_t file);
bool kvi_ssd_moving_leaves(struct kvi_ssd_volume *volume, uint64_t bytes);

/* ---- move.c: what a walk does that frees its file ---- */

/* To read what is moved: a device that is gone is found out first. */
#define KVI_SSD_RECLAIM_TRIES KVI_SSD_ERRORS_MAX

bool kvi_ssd_move_wants(struct kvi_ssd_walk *walk, const struct kvi_ssd_record *record);
void kvi_ssd_move_came(struct kvi_ssd_walk *walk, struct kvi_ssd_op *op, int error);
/* Tries again with what is blocked. False: it has no place now either. */
bool kvi_ssd_move_again(struct kvi_ssd_walk *walk);
/* At the end of the walk: writes the deletions that are left, in time. */
void kvi_ssd_move_rest(struct kvi_ssd_walk *walk);

/* ---- reclaim.c, scrub.c ---- */

void kvi_ssd_reclaim_step(struct kvi_ssd_volume *volume);
/* Leaves the file that is being freed as it is. The disk has no operation of it. */
void kvi_ssd_reclaim_leave(struct kvi_ssd_volume *volume);
void kvi_ssd_scrub_step(struct kvi_ssd_volume *volume);

/* ---- recover.c ---- */

kvs_status kvi_ssd_recover(struct kvi_ssd_volume *volume, kvi_medium_found_fn *found);
/* Memory for a file's footer, trailer included: whole blocks at a block. NULL: no memory. */
uint8_t *kvi_ssd_blocks_alloc(size_t bytes);

#endif
