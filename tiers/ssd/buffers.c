/* tiers/ssd/buffers.c: buffers by size class, four to each power of two, so that at most a quarter of one is not needed. */
#include "tiers/ssd/buffers.h"

#include <stdbool.h>
#include <sys/mman.h>

#define SIZE_MIN 8192u

/* The class of a size, and the size that a buffer of it has. */
static uint32_t class_of(size_t size, size_t *size_p)
{
  size_t power = SIZE_MIN;
  uint32_t class = 0, quarter = 1;

  if (size <= SIZE_MIN) {
    *size_p = SIZE_MIN;
    return 0;
  }
  for (; power * 2 < size; power *= 2)
    class += 4;
  while (power + power / 4 * quarter < size)
    quarter++;
  *size_p = power + power / 4 * quarter;
  return class + quarter;
}

static void *pop(struct kvi_ssd_buffers *buffers, uint32_t class)
{
  void *bytes = buffers->kept[class];

  if (bytes)
    buffers->kept[class] = *(void **)bytes;
  return bytes;
}

static size_t class_size(uint32_t class)
{
  size_t power = SIZE_MIN;

  if (class == 0)
    return SIZE_MIN;
  power <<= (class - 1) / 4;
  return power + power / 4 * ((class - 1) % 4 + 1);
}

/* Gives kept ones of other sizes back to the system until there is room for `size`. */
static bool room_make(struct kvi_ssd_buffers *buffers, size_t size)
{
  for (uint32_t class = KVI_SSD_BUFFER_CLASSES; class > 0 && buffers->bytes + size > buffers->bytes_max;
       class --) {
    void *bytes;

    while (buffers->bytes + size > buffers->bytes_max && (bytes = pop(buffers, class - 1)) != NULL) {
      munmap(bytes, class_size(class - 1));
      buffers->bytes -= class_size(class - 1);
    }
  }
  return buffers->bytes + size <= buffers->bytes_max || buffers->out == 0;
}

struct kvi_ssd_buffer kvi_ssd_buffer_take(struct kvi_ssd_buffers *buffers, size_t size)
{
  struct kvi_ssd_buffer buffer = {0};
  uint32_t class = class_of(size, &buffer.size);

  buffer.bytes = pop(buffers, class);
  if (!buffer.bytes) {
    if (!room_make(buffers, buffer.size))
      return buffer;
    buffer.bytes = mmap(NULL, buffer.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer.bytes == MAP_FAILED) {
      buffer.bytes = NULL;
      return buffer;
    }
    buffers->bytes += buffer.size;
  }
  buffers->out += buffer.size;
  return buffer;
}

void kvi_ssd_buffer_give(struct kvi_ssd_buffers *buffers, struct kvi_ssd_buffer buffer)
{
  size_t size;
  uint32_t class;

  if (!buffer.bytes)
    return;
  class = class_of(buffer.size, &size);
  buffers->out -= size;
  *(void **)buffer.bytes = buffers->kept[class];
  buffers->kept[class] = buffer.bytes;
}

void kvi_ssd_buffers_clear(struct kvi_ssd_buffers *buffers)
{
  for (uint32_t class = 0; class < KVI_SSD_BUFFER_CLASSES; class ++) {
    void *bytes;

    while ((bytes = pop(buffers, class)) != NULL) {
      munmap(bytes, class_size(class));
      buffers->bytes -= class_size(class);
    }
  }
}
