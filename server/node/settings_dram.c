/* settings_dram.c: the tier in memory. */
#include "server/node/settings_rows.h"

static const kvi_config_row rows[] = {
    {.name = "dram.size",
     AT(SIZE, dram_size),
     .standard = "1GiB",
     .min = 4 * MIB,
     .max = 64 * TIB,
     .doc = "Memory for chunks. All of it is reserved and touched before the node says it is ready, and kept "
            "until it ends. More than the machine or its control group has is refused."},
    {.name = "dram.page_size",
     AT(SIZE, dram_page_size),
     .standard = "16KiB",
     .min = 4 * KIB,
     .max = 2 * MIB,
     .doc = "Unit in which that memory is given to chunks, a power of two. A chunk wastes half a unit on "
            "average."},
    {.name = "dram.huge_pages",
     AT(BOOL, dram_huge_pages),
     .standard = "true",
     .doc = "Use huge pages of the kernel when they are to be had; the log says what was got."},
    {.name = "dram.lock",
     AT(BOOL, dram_lock),
     .standard = "false",
     .doc = "Lock that memory so that it is never swapped out. When the kernel refuses (see "
            "`RLIMIT_MEMLOCK`) the node warns and goes on."},
    {.name = "dram.high_mark",
     AT(INT, dram_high_mark),
     .standard = "95",
     .min = 1,
     .max = 100,
     .unit = "percent",
     .doc = "When more of that memory than this is taken, chunks that are on SSD too leave it in the "
            "background, the least recently used first, until `dram.low_mark` is reached: so puts and reads "
            "find room without making it. Nothing is lost by it. 100: never. Without an SSD tier it does "
            "nothing."},
    {.name = "dram.low_mark",
     AT(INT, dram_low_mark),
     .standard = "90",
     .min = 0,
     .max = 100,
     .unit = "percent",
     .doc = "Where that ends. At most `dram.high_mark`."},
    {.name = "dram.codec",
     AT(ENUM, dram_codec),
     .standard = "none",
     .choices = kvi_settings_codecs,
     .doc = "How chunks that lie in that memory are made smaller, once they are put: in the background, by "
            "`codec.threads`, with the choices of `ssd.codec`. It holds more of them for it, what is written "
            "to SSD and Redis from there goes as it is, and who reads a chunk has it to decode. When more is "
            "put than the threads can do, chunks stay as they were put. What comes from SSD or Redis lies in "
            "memory as it does there, whatever this says. Unless it is `none`, coded chunks in memory also "
            "lose planes when room is needed, as far as their owner allows, before any is evicted, those too "
            "that clients put coded."},
    {.name = "dram.test_fault",
     AT(STRING, dram_test_fault),
     .min = 0,
     .max = 1023,
     .mutable = true,
     .doc = "For tests only: the same as `ssd.test_fault`, for memory, which cannot be late."},
};

const kvi_config_rows kvi_settings_dram = {.rows = rows, .count = KVI_ARRAY_SIZE(rows)};
