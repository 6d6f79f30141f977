/*
 * base/crc32c.h: CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of every segment and frame.
 *
 * The value is the finished checksum at every step: the first call takes 0, the next takes what the last one
 * gave, and kvi_crc32c_update(0, "123456789", 9) is 0xE3069283. All functions are thread-safe, allocate
 * nothing and do not block.
 */
#ifndef KVI_BASE_CRC32C_H
#define KVI_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what "crc" covers followed by buf[0..length). buf may be NULL if length is 0. */
uint32_t kvi_crc32c_update(uint32_t crc, const void *buf, size_t length);

/*
 * Copies src[0..length) to dst, which must not overlap it, and returns kvi_crc32c_update(crc, dst, length).
 * What is summed is what landed in dst: if src changes under us (shared memory of a peer), the checksum still
 * fits the bytes we hold.
 */
uint32_t kvi_crc32c_copy(uint32_t crc, void *dst, const void *src, size_t length);

/* The checksum of A followed by B, of crc_a over A and crc_b over the length_b bytes of B. O(log length_b).
 */
uint32_t kvi_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b);

#endif
