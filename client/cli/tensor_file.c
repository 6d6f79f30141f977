#include "client/cli/tensor_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "base/array.h"

#define PIECE      (1u << 20)
#define HEADER_MAX 65536u /* of NumPy's dictionary, whose own are some 100 bytes */
#define PREFIX_MAX 12u    /* magic, version, length of the dictionary */

/* Bytes that grow up to a bound. */
struct bytes {
  uint8_t *at;
  size_t length, room, limit;
};

static kvs_status fail(char *why, kvs_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static kvs_status fail(char *why, kvs_status status, const char *format, ...)
{
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(why, KVI_TENSOR_WHY_SIZE, format, arguments);
  va_end(arguments);
  return status;
}

/* Room for more bytes behind those that are there; one byte above the limit can be had, which tells that there is too much. */
static kvs_status make_room(struct bytes *bytes, char *why)
{
  size_t room = bytes->room > 0 ? 2 * bytes->room : PIECE;
  uint8_t *at;

  if (bytes->length > bytes->limit)
    return fail(why, KVS_ERR_TOO_LARGE, "it has more than %zu bytes", bytes->limit);
  if (bytes->length < bytes->room)
    return KVS_OK;
  if (room > bytes->limit + 1)
    room = bytes->limit + 1;
  at = realloc(bytes->at, room);
  if (at == NULL)
    return fail(why, KVS_ERR_NOMEM, "there is no memory for it");
  bytes->at = at;
  bytes->room = room;
  return KVS_OK;
}

static kvs_status read_plain(FILE *file, struct bytes *bytes, char *why)
{
  size_t n;

  do {
    kvs_status status = make_room(bytes, why);

    if (status != KVS_OK)
      return status;
    n = fread(bytes->at + bytes->length, 1, bytes->room - bytes->length, file);
    bytes->length += n;
  } while (n > 0);
  return ferror(file) ? fail(why, KVS_ERR_IO, "%s", strerror(errno)) : KVS_OK;
}

/* All that one piece of the file gives. *pending_p: a frame has begun and not ended. */
static kvs_status inflate(ZSTD_DStream *stream, ZSTD_inBuffer *in, struct bytes *bytes, bool *pending_p,
                          char *why)
{
  bool full = true; /* what is left inside comes out without more input */

  while (in->pos < in->size || full) {
    kvs_status status = make_room(bytes, why);
    ZSTD_outBuffer out = {.dst = bytes->at, .size = bytes->room, .pos = bytes->length};
    size_t left;

    if (status != KVS_OK)
      return status;
    left = ZSTD_decompressStream(stream, &out, in);
    if (ZSTD_isError(left))
      return fail(why, KVS_ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(left));
    full = out.pos == out.size && left != 0;
    bytes->length = out.pos;
    *pending_p = left != 0;
  }
  return KVS_OK;
}

static kvs_status read_zstd(FILE *file, struct bytes *bytes, char *why)
{
  ZSTD_DStream *stream = ZSTD_createDStream();
  uint8_t *piece = malloc(PIECE);
  kvs_status status = KVS_OK;
  bool pending = true;
  size_t n = 0;

  if (stream == NULL || piece == NULL)
    status = fail(why, KVS_ERR_NOMEM, "there is no memory for it");
  while (status == KVS_OK && (n = fread(piece, 1, PIECE, file)) > 0) {
    ZSTD_inBuffer in = {.src = piece, .size = n};

    status = inflate(stream, &in, bytes, &pending, why);
  }
  if (status == KVS_OK && ferror(file))
    status = fail(why, KVS_ERR_IO, "%s", strerror(errno));
  else if (status == KVS_OK && pending)
    status = fail(why, KVS_ERR_CORRUPT, "zstd: the file is cut short");
  free(piece);
  ZSTD_freeDStream(stream);
  return status;
}

/* ---- NumPy's dictionary: {'descr': '<u2', 'fortran_order': False, 'shape': (8, 4, 256, 2, 64), } ---- */

struct text {
  const char *at, *end;
};

static void skip_blanks(struct text *text)
{
  while (text->at < text->end && (*text->at == ' ' || *text->at == '\n' || *text->at == '\t'))
    text->at++;
}

/* Takes a word that stands next. */
static bool take(struct text *text, const char *word)
{
  size_t length = strlen(word);

  skip_blanks(text);
  if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0)
    return false;
  text->at += length;
  return true;
}

/* A quoted text without escapes, such as '<u2'. */
static bool take_quoted(struct text *text, char *word, size_t size)
{
  size_t n = 0;
  char quote;

  skip_blanks(text);
  if (text->at >= text->end || (*text->at != '\'' && *text->at != '"'))
    return false;
  quote = *text->at++;
  while (text->at < text->end && *text->at != quote && n + 1 < size)
    word[n++] = *text->at++;
  word[n] = '\0';
  if (text->at >= text->end || *text->at != quote)
    return false;
  text->at++;
  return true;
}

static bool take_number(struct text *text, uint64_t *number_p)
{
  uint64_t number = 0;
  bool any = false;

  skip_blanks(text);
  for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++, any = true)
    if (__builtin_mul_overflow(number, 10u, &number) ||
        __builtin_add_overflow(number, (uint64_t)(*text->at - '0'), &number))
      return false;
  *number_p = number;
  return any;
}

static kvs_status take_shape(struct text *text, struct kvi_tensor_file *file, char *why)
{
  if (!take(text, "("))
    return fail(why, KVS_ERR_CORRUPT, "its header has no shape");
  while (!take(text, ")")) {
    uint64_t dim;

    if (file->n_dims > 0 && !take(text, ","))
      return fail(why, KVS_ERR_CORRUPT, "its header has a damaged shape");
    if (file->n_dims > 0 && take(text, ")")) /* one dimension is written (5,) */
      break;
    if (!take_number(text, &dim) || dim == 0)
      return fail(why, KVS_ERR_CORRUPT, "its shape has a dimension that is no number from 1 on");
    if (file->n_dims == KVI_TENSOR_DIMS_MAX)
      return fail(why, KVS_ERR_UNSUPPORTED, "it has more than %u dimensions", KVI_TENSOR_DIMS_MAX);
    file->dims[file->n_dims++] = dim;
  }
  return file->n_dims > 0 ? KVS_OK : fail(why, KVS_ERR_UNSUPPORTED, "it is a single number");
}

static kvs_status take_descr(struct text *text, struct kvi_tensor_file *file, char *why)
{
  static const struct {
    const char *name;
    enum kvi_tensor_kind kind;
    uint32_t bits;
  } known[] = {{"|u1", KVI_TENSOR_UNSIGNED, 8},  {"<u1", KVI_TENSOR_UNSIGNED, 8},
               {"|i1", KVI_TENSOR_SIGNED, 8},    {"<i1", KVI_TENSOR_SIGNED, 8},
               {"<u2", KVI_TENSOR_UNSIGNED, 16}, {"<f2", KVI_TENSOR_FLOAT, 16},
               {"<f4", KVI_TENSOR_FLOAT, 32}};
  char name[8];

  if (!take_quoted(text, name, sizeof name))
    return fail(why, KVS_ERR_UNSUPPORTED, "its elements are of a kind other than u1, i1, <u2, <f2 and <f4");
  for (size_t i = 0; i < KVI_ARRAY_SIZE(known); i++) {
    if (strcmp(name, known[i].name) != 0)
      continue;
    file->kind = known[i].kind;
    file->element_bits = known[i].bits;
    return KVS_OK;
  }
  return fail(why, KVS_ERR_UNSUPPORTED, "its elements are of a kind other than u1, i1, <u2, <f2 and <f4");
}

/* The value of one key. Each key may come once. */
static kvs_status take_item(struct text *text, const char *key, struct kvi_tensor_file *file, bool *order_p,
                            char *why)
{
  if (strcmp(key, "descr") == 0 && file->element_bits == 0)
    return take_descr(text, file, why);
  if (strcmp(key, "shape") == 0 && file->n_dims == 0)
    return take_shape(text, file, why);
  if (strcmp(key, "fortran_order") != 0 || *order_p)
    return fail(why, KVS_ERR_CORRUPT, "its header has an item that does not belong there");
  *order_p = true;
  if (take(text, "True"))
    return fail(why, KVS_ERR_UNSUPPORTED, "it lies in Fortran's order");
  return take(text, "False") ? KVS_OK : fail(why, KVS_ERR_CORRUPT, "its header has a damaged order");
}

static kvs_status read_dictionary(struct text text, struct kvi_tensor_file *file, char *why)
{
  bool has_order = false;
  bool first = true;

  if (!take(&text, "{"))
    return fail(why, KVS_ERR_CORRUPT, "its header is no dictionary");
  while (!take(&text, "}")) {
    char key[16];
    kvs_status status;

    if (!first && !take(&text, ","))
      return fail(why, KVS_ERR_CORRUPT, "its header is damaged");
    if (!first && take(&text, "}"))
      break;
    first = false;
    if (!take_quoted(&text, key, sizeof key) || !take(&text, ":"))
      return fail(why, KVS_ERR_CORRUPT, "its header is damaged");
    status = take_item(&text, key, file, &has_order, why);
    if (status != KVS_OK)
      return status;
  }
  skip_blanks(&text);
  if (text.at != text.end || file->element_bits == 0 || file->n_dims == 0 || !has_order)
    return fail(why, KVS_ERR_CORRUPT, "its header does not say dtype, order and shape");
  return KVS_OK;
}

/* What kind and dimensions say of the data's length. */
static bool data_bytes(const struct kvi_tensor_file *file, size_t *bytes_p)
{
  size_t bytes = file->element_bits / 8;

  for (uint32_t i = 0; i < file->n_dims; i++)
    if (!kvi_size_mul(bytes, file->dims[i], &bytes))
      return false;
  *bytes_p = bytes;
  return true;
}

/* Reads the header; *begin_p is where the data begins. */
static kvs_status read_header(const struct bytes *bytes, struct kvi_tensor_file *file, size_t *begin_p,
                              char *why)
{
  const uint8_t *at = bytes->at;
  size_t prefix, length;
  struct text text;

  if (bytes->length < PREFIX_MAX || memcmp(at, "\x93NUMPY", 6) != 0)
    return fail(why, KVS_ERR_CORRUPT, "it is not a NumPy file");
  if ((at[6] != 1 && at[6] != 2) || at[7] != 0)
    return fail(why, KVS_ERR_UNSUPPORTED, "version %u.%u of the NumPy format is not known", at[6], at[7]);
  prefix = at[6] == 1 ? 10 : 12;
  length = at[8] | (size_t)at[9] << 8;
  if (at[6] == 2)
    length |= (size_t)at[10] << 16 | (size_t)at[11] << 24;
  if (length > HEADER_MAX || length > bytes->length - prefix)
    return fail(why, KVS_ERR_CORRUPT, "its header is cut short");
  text.at = (const char *)at + prefix;
  text.end = text.at + length;
  *begin_p = prefix + length;
  return read_dictionary(text, file, why);
}

static kvs_status parse(struct bytes *bytes, size_t max_bytes, struct kvi_tensor_file *file, char *why)
{
  size_t begin = 0;
  kvs_status status;

  if (bytes->at == NULL)
    return fail(why, KVS_ERR_CORRUPT, "it is empty");
  status = read_header(bytes, file, &begin, why);
  if (status != KVS_OK)
    return status;
  if (!data_bytes(file, &file->bytes) || file->bytes != bytes->length - begin)
    return fail(why, KVS_ERR_CORRUPT, "it has %zu bytes of data, its header says otherwise",
                bytes->length - begin);
  if (file->bytes > max_bytes)
    return fail(why, KVS_ERR_TOO_LARGE, "it has more than %zu bytes", max_bytes);
  memmove(bytes->at, bytes->at + begin, file->bytes); /* aligned, whatever the header's length */
  file->data = bytes->at;
  return KVS_OK;
}

static bool ends_in(const char *text, const char *end)
{
  size_t length = strlen(text);

  return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

kvs_status kvi_tensor_file_open(const char *path, size_t max_bytes, struct kvi_tensor_file *file_p,
                                char why[KVI_TENSOR_WHY_SIZE])
{
  struct bytes bytes = {.limit = max_bytes};
  kvs_status status;
  FILE *file;

  memset(file_p, 0, sizeof *file_p);
  why[0] = '\0';
  if (!kvi_size_add(max_bytes, HEADER_MAX + PREFIX_MAX, &bytes.limit) || bytes.limit == SIZE_MAX)
    return fail(why, KVS_ERR_TOO_LARGE, "the bound is no size of memory");
  file = fopen(path, "re");
  if (file == NULL)
    return fail(why, KVS_ERR_IO, "%s", strerror(errno));
  status = ends_in(path, ".zst") ? read_zstd(file, &bytes, why) : read_plain(file, &bytes, why);
  fclose(file);
  if (status == KVS_OK)
    status = parse(&bytes, max_bytes, file_p, why);
  if (status != KVS_OK) {
    free(bytes.at);
    memset(file_p, 0, sizeof *file_p);
  }
  return status;
}

void kvi_tensor_file_close(struct kvi_tensor_file *file)
{
  free(file->data);
  memset(file, 0, sizeof *file);
}
