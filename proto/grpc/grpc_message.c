#include <stdio.h>
#include <stdlib.h>

#include "proto/grpc/grpc_private.h"

grpc_byte_buffer *kvi_grpc_pack(const ProtobufCMessage *message)
{
  size_t size = protobuf_c_message_get_packed_size(message);
  grpc_slice slice = grpc_slice_malloc(size);
  protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return buffer;
}

ProtobufCMessage *kvi_grpc_unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *descriptor,
                                  size_t limit)
{
  if (!buffer || grpc_byte_buffer_length(buffer) > limit)
    return NULL;
  grpc_byte_buffer_reader reader;
  if (!grpc_byte_buffer_reader_init(&reader, buffer))
    return NULL;
  grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
  ProtobufCMessage *message =
      protobuf_c_message_unpack(descriptor, NULL, GRPC_SLICE_LENGTH(all), GRPC_SLICE_START_PTR(all));
  grpc_slice_unref(all);
  grpc_byte_buffer_reader_destroy(&reader);
  return message;
}

char *kvi_grpc_read_file(const char *path)
{
  enum { LIMIT = 1 << 20 };
  FILE *file = fopen(path, "re");
  if (!file)
    return NULL;
  char *text = malloc(LIMIT + 1);
  size_t length = text ? fread(text, 1, LIMIT + 1, file) : 0;
  if (text && (length == 0 || length > LIMIT || ferror(file))) {
    free(text);
    text = NULL;
  }
  fclose(file);
  if (text)
    text[length] = '\0';
  return text;
}
