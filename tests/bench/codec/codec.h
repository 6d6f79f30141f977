/* tests/bench/codec/codec.h: `kvasir-bench codec`. */
#ifndef KVASIR_BENCH_CODEC_CODEC_H
#define KVASIR_BENCH_CODEC_CODEC_H

/* argv[0] is "codec". Returns the exit status: 0 all measured, 1 something failed, 2 wrong usage. */
int bench_codec(int argc, char **argv);

#endif
