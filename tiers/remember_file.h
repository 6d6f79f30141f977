/*
 * tiers/remember_file.h: a small file that is there whole, as it was or as it is now, whatever happens while it is written. These functions block.
 *
 * Written is PATH.new, which is flushed, gets the name, and then the folder is flushed. One process at a time: who holds the lock of PATH.lock.
 */
#ifndef KVASIR_TIERS_REMEMBER_FILE_H
#define KVASIR_TIERS_REMEMBER_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

/*
 * PATH.lock, which is made and stays there, is this caller's until *fd_p is closed, or the process ends. KVS_ERR_BUSY: somebody else's; KVS_ERR_IO (errno): it cannot be made.
 */
kvs_status kvi_remember_file_lock(const char *path, int *fd_p);
/* *bytes_p is malloc'd. *open_p: others than the owner may read or write it. KVS_MISS: there is none; KVS_ERR_INVALID: it is no file (errno: EISDIR, ELOOP: a link; else 0); KVS_ERR_DENIED: it is another user's; KVS_ERR_TOO_LARGE: more than `most`; KVS_ERR_NOMEM; KVS_ERR_IO (errno). */
kvs_status kvi_remember_file_read(const char *path, size_t most, uint8_t **bytes_p, size_t *length_p,
                                  bool *open_p);
/* Only the owner may read it. KVS_ERR_IO (errno): it is as it was, or, if only the folder could not be flushed, as it is to be. */
kvs_status kvi_remember_file_write(const char *path, const uint8_t *bytes, size_t length);
/* It is PATH.aside from now on, in place of another of that name. KVS_ERR_IO (errno). */
kvs_status kvi_remember_file_aside(const char *path);

#endif
