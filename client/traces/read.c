/* client/traces/read.c: files, folders and archives, packed or not, to the reader of their format. */
#include "client/traces/read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zstd.h>

#include "base/array.h"

#define TAR_BLOCK       512u
#define TAR_SIZE_AT     124u
#define TAR_MAGIC_AT    257u
#define TAR_TYPE_AT     156u
#define WINDOW_LOG      31
#define FOLDER_MAX      (1u << 20)
#define NAME_LENGTH_MAX 100u

struct bytes {
  char *at;
  size_t length, room;
};

bool sim_format_named(const char *name, enum sim_format *format_p)
{
  static const char *const names[] = {
      [SIM_AUTO] = "auto", [SIM_MOONCAKE] = "mooncake", [SIM_AGENTIC] = "agentic", [SIM_BAILIAN] = "bailian"};

  for (size_t i = 0; i < KVI_ARRAY_SIZE(names); i++) {
    if (strcmp(name, names[i]) != 0)
      continue;
    *format_p = (enum sim_format)i;
    return true;
  }
  return false;
}

/* ---- bytes of a file ---- */

static kvs_status make_room(struct bytes *bytes, size_t more, const char *path, struct sim_error *error)
{
  size_t room = bytes->room ? bytes->room : 1u << 20;
  char *at;

  if (bytes->length + more > SIM_FILE_MAX)
    return sim_fail(error, KVS_ERR_TOO_LARGE, "%s: more than %llu bytes", path,
                    (unsigned long long)SIM_FILE_MAX);
  while (room < bytes->length + more)
    room *= 2;
  if (room == bytes->room)
    return KVS_OK;
  at = realloc(bytes->at, room);
  if (!at)
    return sim_fail(error, KVS_ERR_NOMEM, "%s: no memory for it", path);
  bytes->at = at;
  bytes->room = room;
  return KVS_OK;
}

static kvs_status read_file(int fd, const char *path, struct bytes *bytes, struct sim_error *error)
{
  for (;;) {
    kvs_status status = make_room(bytes, 1u << 16, path, error);
    ssize_t n;

    if (status != KVS_OK)
      return status;
    n = read(fd, bytes->at + bytes->length, bytes->room - bytes->length);
    if (n == 0)
      return KVS_OK;
    if (n < 0 && errno != EINTR)
      return sim_fail(error, KVS_ERR_SYSTEM, "%s: %s", path, strerror(errno));
    if (n > 0)
      bytes->length += (size_t)n;
  }
}

static bool is_packed(const struct bytes *bytes)
{
  static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};

  return bytes->length >= sizeof magic && memcmp(bytes->at, magic, sizeof magic) == 0;
}

/* Replaces packed bytes by what they hold. */
static kvs_status unpack(struct bytes *bytes, const char *path, struct sim_error *error)
{
  ZSTD_DCtx *context = ZSTD_createDCtx();
  ZSTD_inBuffer in = {.src = bytes->at, .size = bytes->length};
  struct bytes out = {0};
  kvs_status status = KVS_OK;
  size_t left = 1;

  if (!context || ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, WINDOW_LOG)))
    status = sim_fail(error, KVS_ERR_NOMEM, "%s: no memory to unpack it", path);
  while (status == KVS_OK && (in.pos < in.size || left == 0)) {
    ZSTD_outBuffer to;

    if (in.pos == in.size && left == 0)
      break;
    status = make_room(&out, 1u << 17, path, error);
    if (status != KVS_OK)
      break;
    to = (ZSTD_outBuffer){.dst = out.at + out.length, .size = out.room - out.length};
    left = ZSTD_decompressStream(context, &to, &in);
    if (ZSTD_isError(left))
      status = sim_fail(error, KVS_ERR_INVALID, "%s: not unpacked: %s", path, ZSTD_getErrorName(left));
    out.length += to.pos;
  }
  if (status == KVS_OK && left != 0)
    status = sim_fail(error, KVS_ERR_INVALID, "%s: the packed file is cut short", path);
  ZSTD_freeDCtx(context);
  free(bytes->at);
  *bytes = out;
  return status;
}

/* ---- archives ---- */

static bool is_tar(const struct bytes *bytes)
{
  return bytes->length >= TAR_BLOCK && memcmp(bytes->at + TAR_MAGIC_AT, "ustar", 5) == 0;
}

static bool ends_in(const char *text, const char *end)
{
  size_t length = strlen(text), n = strlen(end);

  return length >= n && strcmp(text + length - n, end) == 0;
}

static bool is_wanted(const char *name)
{
  return ends_in(name, ".json") || ends_in(name, ".jsonl");
}

/* Octal digits up to a blank or NUL. False: anything else, or more than the rest of the archive. */
static bool tar_size(const char *field, size_t rest, size_t *size_p)
{
  size_t size = 0;

  for (size_t i = 0; i < 12 && field[i] != '\0' && field[i] != ' '; i++) {
    if (field[i] < '0' || field[i] > '7')
      return false;
    size = size * 8 + (size_t)(field[i] - '0');
  }
  *size_p = size;
  return size <= rest;
}

/* A member is a span of the archive's bytes; members are read in the order of their names, so that an archive gives what its folder gives. */
struct member {
  char name[NAME_LENGTH_MAX + 1];
  const char *at;
  size_t length;
};

static int by_name(const void *a, const void *b)
{
  return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static kvs_status read_members(struct sim_trace *trace, const char *path, enum sim_format format,
                               struct member *members, size_t n, struct sim_error *error)
{
  kvs_status status = KVS_OK;
  char name[256];

  qsort(members, n, sizeof *members, by_name);
  for (size_t i = 0; i < n && status == KVS_OK; i++) {
    snprintf(name, sizeof name, "%.120s(%s)", path, members[i].name);
    status = sim_read_text(trace, name, format, members[i].at, members[i].length, error);
  }
  return status;
}

static kvs_status read_tar(struct sim_trace *trace, const char *path, enum sim_format format,
                           const struct bytes *bytes, struct sim_error *error)
{
  struct member *members = NULL;
  size_t n = 0, room = 0, at = 0;
  kvs_status status = KVS_OK;

  while (at + TAR_BLOCK <= bytes->length && bytes->at[at] != '\0') {
    const char *header = bytes->at + at;
    struct member member = {.at = header + TAR_BLOCK};

    if (memcmp(header + TAR_MAGIC_AT, "ustar", 5) != 0 ||
        !tar_size(header + TAR_SIZE_AT, bytes->length - at - TAR_BLOCK, &member.length)) {
      status = sim_fail(error, KVS_ERR_INVALID, "%s: byte %zu: not the header of a member", path, at);
      break;
    }
    memcpy(member.name, header, NAME_LENGTH_MAX);
    at += TAR_BLOCK + member.length;
    at += (TAR_BLOCK - member.length % TAR_BLOCK) % TAR_BLOCK;
    if ((header[TAR_TYPE_AT] != '0' && header[TAR_TYPE_AT] != '\0') || !is_wanted(member.name))
      continue;
    if (n == room) {
      struct member *more = n < FOLDER_MAX ? realloc(members, (room = 2 * room + 64) * sizeof *more) : NULL;

      if (!more) {
        status = sim_fail(error, KVS_ERR_NOMEM, "%s: no memory for its members", path);
        break;
      }
      members = more;
    }
    members[n++] = member;
  }
  if (status == KVS_OK && n == 0)
    status = sim_fail(error, KVS_ERR_INVALID, "%s: holds no *.json", path);
  else if (status == KVS_OK)
    status = read_members(trace, path, format, members, n, error);
  free(members);
  return status;
}

/* ---- texts ---- */

/* By what the first line has; the names of fields are enough for it. */
static enum sim_format guess(const char *text, size_t length)
{
  const char *end = memchr(text, '\n', length);
  size_t n = end != NULL ? (size_t)(end - text) : length;

  if (memmem(text, n, "\"chat_id\"", 9) != NULL)
    return SIM_BAILIAN;
  if (memmem(text, n, "\"timestamp\"", 11) != NULL && memmem(text, n, "\"requests\"", 10) == NULL)
    return SIM_MOONCAKE;
  return SIM_AGENTIC;
}

kvs_status sim_read_text(struct sim_trace *trace, const char *name, enum sim_format format, const char *text,
                         size_t length, struct sim_error *error)
{
  bool first = trace->n_requests == 0, spread = trace->spread;
  kvs_status status;

  if (text == NULL || length == 0)
    return sim_fail(error, KVS_ERR_INVALID, "%s:1: nothing is in it", name);
  switch (format == SIM_AUTO ? guess(text, length) : format) {
  case SIM_MOONCAKE:
    status = sim_read_mooncake(trace, name, text, length, error);
    break;
  case SIM_BAILIAN:
    status = sim_read_bailian(trace, name, text, length, error);
    break;
  default:
    status = sim_read_agentic(trace, name, text, length, error);
    break;
  }
  if (status == KVS_OK && !first && spread != trace->spread)
    return sim_fail(error, KVS_ERR_INVALID, "%s: runs without a time and traces with one do not go together",
                    name);
  return status;
}

/* ---- paths ---- */

static kvs_status read_one(struct sim_trace *trace, int fd, const char *path, enum sim_format format,
                           struct sim_error *error)
{
  struct bytes bytes = {0};
  kvs_status status = read_file(fd, path, &bytes, error);

  if (status == KVS_OK && is_packed(&bytes))
    status = unpack(&bytes, path, error);
  if (status == KVS_OK)
    status = is_tar(&bytes) ? read_tar(trace, path, format, &bytes, error)
                            : sim_read_text(trace, path, format, bytes.at, bytes.length, error);
  free(bytes.at);
  return status;
}

static int is_wanted_entry(const struct dirent *entry)
{
  return is_wanted(entry->d_name);
}

static kvs_status read_folder(struct sim_trace *trace, const char *path, enum sim_format format,
                              struct sim_error *error)
{
  struct dirent **entries = NULL;
  int n = scandir(path, &entries, is_wanted_entry, alphasort);
  kvs_status status = KVS_OK;

  if (n < 0)
    return sim_fail(error, KVS_ERR_SYSTEM, "%s: %s", path, strerror(errno));
  if (n == 0)
    status = sim_fail(error, KVS_ERR_INVALID, "%s: holds no *.json", path);
  for (int i = 0; i < n; i++) {
    char name[4096];
    int fd;

    if (status == KVS_OK) {
      snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
      fd = open(name, O_RDONLY | O_CLOEXEC);
      status = fd < 0 ? sim_fail(error, KVS_ERR_SYSTEM, "%s: %s", name, strerror(errno))
                      : read_one(trace, fd, name, format, error);
      if (fd >= 0)
        close(fd);
    }
    free(entries[i]);
  }
  free(entries);
  return status;
}

kvs_status sim_read_path(struct sim_trace *trace, const char *path, enum sim_format format,
                         struct sim_error *error)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat about;
  kvs_status status;

  if (fd < 0 || fstat(fd, &about) != 0)
    status = sim_fail(error, KVS_ERR_SYSTEM, "%s: %s", path, strerror(errno));
  else if (S_ISDIR(about.st_mode))
    status = read_folder(trace, path, format, error);
  else
    status = read_one(trace, fd, path, format, error);
  if (fd >= 0)
    close(fd);
  return status;
}
