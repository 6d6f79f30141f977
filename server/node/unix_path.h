/* server/node/unix_path.h: makes the place for the node's unix socket, and takes away what it left behind. */
#ifndef KVI_NODE_UNIX_PATH_H
#define KVI_NODE_UNIX_PATH_H

#include <stddef.h>
#include <sys/types.h>

#include <kvasir/status.h>

/*
 * Creates the directory if it is missing (mode 0750), checks that a socket can be made in it, and removes a
 * stale socket. A socket that a process listens on, or a file that is none, is left alone. KVS_ERR_SYSTEM
 * with one line in error.
 */
kvs_status kvi_unix_path_prepare(const char *path, char *error, size_t error_size);

/* Which socket lies at a path, so that only our own is removed at the end. */
struct kvi_unix_path_id {
  dev_t device;
  ino_t inode; /* 0: none */
};
struct kvi_unix_path_id kvi_unix_path_identify(const char *path);
/* Removes the socket at path if it is that one. */
void kvi_unix_path_remove(const char *path, struct kvi_unix_path_id id);

#endif
