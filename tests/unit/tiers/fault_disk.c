/* fault_disk.c: operations end in random order; a write is seen at once, and durable after a sync of its file. */
#include "fault_disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"

#define PENDING_MAX 256u
#define SECTOR      512u

struct fault_disk {
  struct kvi_ssd_disk disk;
  struct fault_image *image;
  struct kvi_ssd_io *pending[PENDING_MAX];
  uint32_t n_pending;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  bool woken;
};

static struct fault_disk *from(struct kvi_ssd_disk *disk)
{
  return (struct fault_disk *)disk;
}

static kvs_status fault_open(struct kvi_ssd_disk *base, uint32_t number, uint64_t bytes, bool *fresh_p)
{
  struct fault_image *image = from(base)->image;
  struct fault_file *file = &image->files[number];

  if (number >= FAULT_FILES_MAX || (image->files_max > 0 && number >= image->files_max) ||
      bytes != image->file_bytes)
    return KVS_ERR_FULL;
  *fresh_p = file->now == NULL;
  if (file->now == NULL) {
    file->now = calloc(1, bytes);
    file->durable = calloc(1, bytes);
  }
  return KVS_OK;
}

static kvs_status fault_trim(struct kvi_ssd_disk *base, uint32_t n_files)
{
  (void)base, (void)n_files;
  return KVS_OK;
}

static void fault_submit(struct kvi_ssd_disk *base, struct kvi_ssd_io *io)
{
  struct fault_disk *disk = from(base);

  disk->pending[disk->n_pending++] = io;
}

/* Copies the first `length` bytes of an operation's to or from flat memory. */
static void bytes_copy(const struct kvi_ssd_io *io, uint8_t *flat, size_t length, bool out)
{
  struct iovec whole = {.iov_base = io->bytes, .iov_len = io->length};
  const struct iovec *place = io->bytes ? &whole : io->places;

  for (; length > 0; place++) {
    size_t part = place->iov_len < length ? place->iov_len : length;

    if (out)
      memcpy(flat, place->iov_base, part);
    else
      memcpy(place->iov_base, flat, part);
    flat += part;
    length -= part;
  }
}

static void write_remember(struct fault_image *image, const struct kvi_ssd_io *io)
{
  struct fault_write *write;

  if (image->n_writes == image->writes_room) {
    image->writes_room = image->writes_room ? image->writes_room * 2 : 64;
    image->writes = realloc(image->writes, image->writes_room * sizeof(*image->writes));
  }
  write = &image->writes[image->n_writes++];
  *write =
      (struct fault_write){.file = io->file, .at = io->at, .length = io->length, .bytes = malloc(io->length)};
  bytes_copy(io, write->bytes, io->length, true);
}

static void sync_file(struct fault_image *image, uint32_t file)
{
  size_t kept = 0;

  for (size_t i = 0; i < image->n_writes; i++) {
    struct fault_write *write = &image->writes[i];

    if (write->file != file) {
      image->writes[kept++] = *write;
      continue;
    }
    memcpy(image->files[file].durable + write->at, write->bytes, write->length);
    free(write->bytes);
  }
  image->n_writes = kept;
}

/* The errno of the next operation. */
static int fate(struct fault_image *image)
{
  if (image->die_in > 0 && --image->die_in == 0)
    image->dead = true;
  if (image->dead)
    return EIO;
  if (image->read_only_in > 0 && --image->read_only_in == 0)
    image->read_only = true;
  if (image->error_in > 1) {
    image->error_in--;
    return 0;
  }
  if (image->error_in == 0 || image->n_errors == 0)
    return 0;
  image->n_errors--;
  return image->error;
}

static int carry_out(struct fault_image *image, struct kvi_ssd_io *io)
{
  bool (*fails)(const struct kvi_ssd_io *) = image->fails;
  int error = fate(image);

  if (fails && fails(io))
    return EIO;
  if (image->read_only && io->kind != KVI_SSD_READ)
    return EROFS;
  if (error != 0 && io->kind == KVI_SSD_WRITE && kvi_rand_below(&image->rand, 2)) {
    struct kvi_ssd_io part = *io; /* a write that failed may have been done in part */

    part.length = kvi_rand_below(&image->rand, io->length / SECTOR + 1) * SECTOR;
    if (part.length > 0) {
      bytes_copy(io, image->files[io->file].now + io->at, part.length, true);
      write_remember(image, &part);
    }
  }
  if (error != 0)
    return error;
  if (io->kind == KVI_SSD_READ)
    bytes_copy(io, image->files[io->file].now + io->at, io->length, false);
  else if (io->kind == KVI_SSD_SYNC)
    sync_file(image, io->file);
  else {
    bytes_copy(io, image->files[io->file].now + io->at, io->length, true);
    write_remember(image, io);
  }
  return 0;
}

static bool is_held(const struct fault_image *image, const struct kvi_ssd_io *io)
{
  return io->kind == KVI_SSD_READ ? image->holds_reads : image->holds_writes;
}

/* Operations that may end. */
static uint32_t count_free(const struct fault_disk *disk)
{
  uint64_t held = 0;
  uint32_t n = 0;

  for (uint32_t i = 0; i < disk->n_pending; i++)
    if (is_held(disk->image, disk->pending[i]))
      held += disk->pending[i]->length;
    else
      n++;
  disk->image->held_bytes = held;
  return n;
}

static void fault_wait(struct kvi_ssd_disk *base, uint64_t until_ns)
{
  struct fault_disk *disk = from(base);
  struct timespec delay = {.tv_nsec = (long)disk->image->delay_ns};
  uint32_t n = count_free(disk);

  if (n == 0) {
    pthread_mutex_lock(&disk->mutex);
    while (!disk->woken && kvi_now_ns() < until_ns)
      (void)kvi_cond_wait(&disk->wake, &disk->mutex, (kvi_deadline){until_ns});
    disk->woken = false;
    pthread_mutex_unlock(&disk->mutex);
    return;
  }
  if (disk->image->hang_in > 0 && (disk->image->hang_in == 1 || --disk->image->hang_in == 1)) {
    disk->image->hung = base;
    nanosleep(&(struct timespec){.tv_nsec = (long)KVI_NS_PER_MS}, NULL);
    return;
  }
  for (n = 1 + (uint32_t)kvi_rand_below(&disk->image->rand, n); n > 0; n--) {
    uint32_t which = (uint32_t)kvi_rand_below(&disk->image->rand, disk->n_pending);
    struct kvi_ssd_io *io = disk->pending[which];

    if (is_held(disk->image, io))
      continue;
    if (disk->image->slow_syncs && io->kind == KVI_SSD_SYNC && disk->n_pending > 1 &&
        kvi_rand_below(&disk->image->rand, 16) != 0)
      continue;
    if (disk->image->slow_headers && io->kind == KVI_SSD_WRITE && io->at == 0 && disk->n_pending > 1 &&
        kvi_rand_below(&disk->image->rand, 256) != 0)
      continue;
    if (disk->image->delay_ns > 0)
      nanosleep(&delay, NULL);
    disk->pending[which] = disk->pending[--disk->n_pending];
    io->done(io, carry_out(disk->image, io));
  }
}

static void fault_wake(struct kvi_ssd_disk *base)
{
  struct fault_disk *disk = from(base);

  pthread_mutex_lock(&disk->mutex);
  disk->woken = true;
  pthread_cond_signal(&disk->wake);
  pthread_mutex_unlock(&disk->mutex);
}

static void fault_discard(struct kvi_ssd_disk *base, uint32_t number, uint64_t bytes)
{
  struct fault_image *image = from(base)->image;
  size_t kept = 0;

  if (image->dead)
    return;
  image->n_discards++;
  memset(image->files[number].now, 0, bytes);
  if (kvi_rand_below(&image->rand, 2)) /* advice */
    memset(image->files[number].durable, 0, bytes);
  for (size_t i = 0; i < image->n_writes; i++)
    if (image->writes[i].file == number)
      free(image->writes[i].bytes);
    else
      image->writes[kept++] = image->writes[i];
  image->n_writes = kept;
}

/* By the byte, as no file system knows it. */
static uint64_t fault_data(struct kvi_ssd_disk *base, uint32_t number, uint64_t at)
{
  const struct fault_image *image = from(base)->image;

  while (at < image->file_bytes && image->files[number].now[at] == 0)
    at++;
  return at < image->file_bytes ? at : UINT64_MAX;
}

static void fault_destroy(struct kvi_ssd_disk *base)
{
  struct fault_disk *disk = from(base);

  if (!base)
    return;
  pthread_cond_destroy(&disk->wake);
  pthread_mutex_destroy(&disk->mutex);
  free(disk);
}

static const struct kvi_ssd_disk_ops fault_ops = {.name = "a disk with faults",
                                                  .open = fault_open,
                                                  .trim = fault_trim,
                                                  .submit = fault_submit,
                                                  .wait = fault_wait,
                                                  .wake = fault_wake,
                                                  .discard = fault_discard,
                                                  .data = fault_data,
                                                  .destroy = fault_destroy};

struct kvi_ssd_disk *fault_disk_open(struct fault_image *image)
{
  struct fault_disk *disk = calloc(1, sizeof(*disk));

  disk->disk.ops = &fault_ops;
  disk->image = image;
  image->disk = &disk->disk;
  pthread_mutex_init(&disk->mutex, NULL);
  (void)kvi_cond_init(&disk->wake);
  return &disk->disk;
}

void fault_image_release(struct fault_image *image)
{
  image->holds_reads = image->holds_writes = false;
  fault_wake(image->disk);
}

/* A write that was not synced: gone, whole, some of its sectors, or (if so wished) at another place. */
static void write_fall(struct fault_image *image, const struct fault_write *write)
{
  uint8_t *durable = image->files[write->file].durable;
  uint64_t at = write->at;

  if (image->misdirects && kvi_rand_below(&image->rand, 4) == 0)
    at = kvi_rand_below(&image->rand, (image->file_bytes - write->length) / 4096 + 1) * 4096;
  switch (kvi_rand_below(&image->rand, 4)) {
  case 0:
    break;
  case 1:
  case 2:
    memcpy(durable + at, write->bytes, write->length);
    break;
  default:
    for (size_t i = 0; i < write->length; i += SECTOR)
      if (kvi_rand_below(&image->rand, 2))
        memcpy(durable + at + i, write->bytes + i, SECTOR);
    break;
  }
}

void fault_image_crash(struct fault_image *image)
{
  while (image->n_writes > 0) { /* in any order */
    size_t which = (size_t)kvi_rand_below(&image->rand, image->n_writes);

    write_fall(image, &image->writes[which]);
    free(image->writes[which].bytes);
    image->writes[which] = image->writes[--image->n_writes];
  }
  for (uint32_t i = 0; i < FAULT_FILES_MAX; i++)
    if (image->files[i].now)
      memcpy(image->files[i].now, image->files[i].durable, image->file_bytes);
  image->dead = false;
  image->die_in = image->error_in = 0;
  image->n_errors = 0;
}

void fault_image_free(struct fault_image *image)
{
  for (uint32_t i = 0; i < FAULT_FILES_MAX; i++) {
    free(image->files[i].now);
    free(image->files[i].durable);
  }
  for (size_t i = 0; i < image->n_writes; i++)
    free(image->writes[i].bytes);
  free(image->writes);
}
