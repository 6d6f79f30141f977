/*
 * The C side of stock_protobuf.py. Reads requests from stdin, writes answers to stdout, until the end of
 * stdin; numbers are u32 little-endian.
 *
 *   'W' header length, header, data length   ->  length and bytes of the prefix that goes in front of the
 * data 'R' message length, message              ->  status, header offset, header length, data offset, data
 * length
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "proto/frame.h"
#include "proto/limits.h"

#define INPUT_MAX (KVI_FRAME_BYTES_MAX + KVI_FRAME_HEADER_MAX + 64u)

static uint8_t input[INPUT_MAX], output[INPUT_MAX];

static void take(void *out, size_t length)
{
  if (fread(out, 1, length, stdin) != length)
    exit(2);
}

static void give(const void *bytes, size_t length)
{
  if (fwrite(bytes, 1, length, stdout) != length)
    exit(2);
}

static uint32_t take_number(void)
{
  uint8_t bytes[4];

  take(bytes, sizeof bytes);
  return kvi_load_le32(bytes);
}

static void give_number(uint64_t value)
{
  uint8_t bytes[4];

  kvi_store_le32(bytes, (uint32_t)value);
  give(bytes, sizeof bytes);
}

static size_t take_input(void)
{
  size_t length = take_number();

  if (length > sizeof input)
    exit(3);
  take(input, length);
  return length;
}

static void write_prefix(void)
{
  size_t length = take_input();
  Kvasir__V1__FrameHeader *header = kvasir__v1__frame_header__unpack(NULL, length, input);
  uint32_t data_length = take_number();

  if (!header || kvi_frame_prefix_size(header, data_length) > sizeof output)
    exit(4);
  size_t size = kvi_frame_write_prefix(header, data_length, output);
  kvasir__v1__frame_header__free_unpacked(header, NULL);
  give_number(size);
  give(output, size);
}

static void read_shape(void)
{
  struct kvi_frame_shape shape = {0};
  size_t length = take_input(), need;
  kvs_status status = kvi_frame_parse(input, length, length, &shape, &need);

  if (status == KVS_ERR_UNSUPPORTED)
    status = kvi_frame_normalize(input, length, &shape);
  give_number((uint32_t)status);
  give_number(shape.header_offset);
  give_number(shape.header_length);
  give_number(shape.data_offset);
  give_number(shape.data_length);
}

int main(void)
{
  int request;

  while ((request = getchar()) != EOF) {
    if (request == 'W')
      write_prefix();
    else if (request == 'R')
      read_shape();
    else
      return 5;
    fflush(stdout);
  }
  return 0;
}
