/*
 * base/program.h: what a program of ours does to its own process before anything else runs. Never called by a
 * library: a library does not change the process it lives in.
 */
#ifndef KVI_BASE_PROGRAM_H
#define KVI_BASE_PROGRAM_H

#include <malloc.h>
#include <stdbool.h>

/*
 * Keeps freed memory inside the process. Received messages come in many short-lived slices; with the standard
 * settings glibc gives their pages back and faults them in again all the time, which costs half of the CPU
 * time of receiving. The price: up to 1 GiB of freed memory stays with the process. Call before the first
 * thread and before grpc_init. False if the C library refused one of the settings; nothing is wrong then but
 * the speed.
 */
static inline bool kvi_program_tune_malloc(void)
{
  bool ok = true;

  ok &= mallopt(M_TRIM_THRESHOLD, 1 << 30) == 1;
  ok &= mallopt(M_TOP_PAD, 64 << 20) == 1;
  ok &= mallopt(M_MMAP_THRESHOLD, 64 << 20) == 1;
  return ok;
}

#endif
