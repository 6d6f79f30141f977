#!/usr/bin/env python3
"""A decoder of KVC1 objects written from docs/formats/kvc1.md alone, slow and plain: levels raw, lossless and ladder.

    kvc1_reference.py WEIGHTS --golden HEADER   decodes the objects of golden_kvc1.h and compares the checksums
    kvc1_reference.py WEIGHTS --same WEIGHTS    compares the weights of two files
    kvc1_reference.py WEIGHTS OBJECT...         prints status and checksum of files with objects, at each quality

WEIGHTS is the page, or tiers/codec/weights.c: both list the weights of the classes. Objects of the other levels are passed over.
"""
import re
import struct
import sys

RAW, LOSSLESS, LADDER = 0, 1, 2
BYTES, BF16, FP16, E4M3, E5M2, INT8 = range(6)
ELEMENT = {BYTES: 1, BF16: 2, FP16: 2, E4M3: 1, E5M2: 1, INT8: 1}
LADDER_CLASSES = 16
SLOT_BITS = 10
SLOTS = 1 << SLOT_BITS
LANES = 32
MASK32 = 0xFFFFFFFF


class Corrupt(Exception):
    pass


def require(holds):
    if not holds:
        raise Corrupt()


def make_crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = make_crc_table()


def crc32c(data):
    crc = MASK32
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 255]
    return crc ^ MASK32


# ---- tables


def read_weights(path):
    with open(path, encoding="utf-8") as source:
        rows = re.findall(r"^    \{?(\d+(?:, \d+){15})(?:\},)?$", source.read(), re.M)
    weights = [[int(number) for number in row.split(",")] for row in rows]
    assert len(weights) == 48 and all(len(row) == 16 for row in weights)
    return weights


def make_class(weights):
    """Slots of a class: (symbol, frequency, slot - start) of each."""
    products = {}
    for a in range(-7, 8):
        for b in range(-7, 8):
            product = weights[a + 7] * weights[b + 7]
            if product >= 1 << 17:
                products[(a & 15) | (b & 15) << 4] = product
    products[0x88] = (1 << 30) - sum(products.values())

    def shares(scale):
        return {pair: max(1, (product * scale + (1 << 29)) >> 30) for pair, product in products.items()}

    frequency = shares(max(scale for scale in range(SLOTS + 1) if sum(shares(scale).values()) <= SLOTS))
    m = max(range(-7, 8), key=lambda number: (weights[number + 7], -number))
    frequency[(m & 15) * 17] += SLOTS - sum(frequency.values())
    slots = []
    for symbol in range(256):
        f = frequency.get(symbol, 0)
        slots += [(symbol, f, i) for i in range(f)]
    assert len(slots) == SLOTS
    return slots


NONE_CLASS = [(0, SLOTS, slot) for slot in range(SLOTS)]
CLASSES = []


def make_tables(path):
    for number, weights in enumerate(read_weights(path)):
        CLASSES.append(NONE_CLASS if number in (0, LADDER_CLASSES) else make_class(weights))


# ---- numbers


def to_int16(number):
    return (number + 32768 & 65535) - 32768


def binary32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def round_even(x):
    """The nearest integer of a number whose fraction a double holds, ties to even."""
    return round(x)


# exponent bits, fraction bits, bias, pattern of the largest finite number
SMALL = {BF16: (8, 7, 127, 0x7F7F), FP16: (5, 10, 15, 0x7BFF), E4M3: (4, 3, 7, 0x7E), E5M2: (5, 2, 15, 0x7B)}


def to_element(dtype, x):
    """Rounds a double that is exact: to nearest, ties to even, clamped to the largest finite number; the sign stays."""
    if dtype == INT8:
        return struct.pack("<b", min(127, max(-128, round_even(x))))
    exponent_bits, fraction_bits, bias, largest = SMALL[dtype]
    sign = struct.pack(">d", x)[0] >> 7
    magnitude, exponent = abs(x), 1
    while exponent < (1 << exponent_bits) - 1 and magnitude >= 2.0 ** (exponent + 1 - bias):
        exponent += 1
    # In units of the last place of this exponent; exponent 1 is that of the subnormals too.
    units = round_even(magnitude * 2.0 ** (bias + fraction_bits - exponent))
    pattern = min(largest, units + ((exponent - 1) << fraction_bits))
    pattern |= sign << (exponent_bits + fraction_bits)
    return pattern.to_bytes(ELEMENT[dtype], "little")


def step_at(block, at):
    require(len(block) >= at + 2)
    m, e = struct.unpack_from("<Bb", block, at)
    require(m >= 128 and -100 <= e <= 100)
    return m * 2.0**e


def trit(byte, j):
    return byte // 81 - 1 if j == 4 else byte // 3**j % 3 - 1


# ---- coded rows


def coded_rows(data, classes, n):
    """n rows of numbers, of as many columns as there are classes; and how many bytes they took."""
    columns = len(classes)
    groups = -(-columns // LANES)
    tables = [CLASSES[c] for c in classes] + [NONE_CLASS] * (groups * LANES - columns)
    require(len(data) >= 136)
    states = list(struct.unpack_from("<32I", data))
    n_words, n_escapes = struct.unpack_from("<2I", data, 128)
    require(136 + 2 * n_words + n_escapes <= len(data))
    require(all(state >= 1 << 16 for state in states))
    words = iter(struct.unpack_from("<%dH" % n_words, data, 136))
    escapes = data[136 + 2 * n_words : 136 + 2 * n_words + n_escapes]
    escape_at = 0
    rows = []
    for _ in range((n + 1) // 2):
        pair = [[0] * (groups * LANES), [0] * (groups * LANES)]
        escaped = []
        for group in range(groups):
            for lane in range(LANES):
                column = group * LANES + lane
                state = states[lane]
                symbol, frequency, offset = tables[column][state & SLOTS - 1]
                state = frequency * (state >> SLOT_BITS) + offset
                if state < 1 << 16:
                    word = next(words, None)
                    require(word is not None)
                    state = state << 16 | word
                states[lane] = state
                if symbol == 0x88:
                    escaped.append(column)
                pair[0][column] = ((symbol & 15) ^ 8) - 8
                pair[1][column] = ((symbol >> 4) ^ 8) - 8
        for column in escaped:
            for row in pair:
                require(escape_at < len(escapes))
                number = struct.unpack_from("<b", escapes, escape_at)[0]
                escape_at += 1
                if number == -128:
                    require(escape_at + 2 <= len(escapes))
                    number = struct.unpack_from("<h", escapes, escape_at)[0]
                    escape_at += 2
                row[column] = number
        rows += [row[:columns] for row in pair]
    require(next(words, None) is None and escape_at == len(escapes))
    require(all(state == 1 << 16 for state in states))
    return rows[:n], 136 + 2 * n_words + n_escapes


# ---- blocks

# high bits, and where they are: (bits, shift)
HIGH = {BF16: (8, 7), FP16: (5, 10), E4M3: (4, 3), E5M2: (5, 2), INT8: (4, 4)}


def lossless_block(block, dtype, rows, columns):
    bits, shift = HIGH[dtype]
    low_bits = 8 * ELEMENT[dtype] - bits
    require(len(block) >= 4 + 2 * columns)
    channels = struct.unpack_from("<%dH" % columns, block, 4)
    classes = [LADDER_CLASSES + (channel & 31) for channel in channels]
    numbers, used = coded_rows(block[4 + 2 * columns :], classes, rows)
    lows = block[4 + 2 * columns + used :]
    whole = columns if low_bits >= 8 else 0
    row_bytes = whole + low_bits % 8 * columns // 8
    require(len(lows) == rows * row_bytes)
    out = []
    for row in range(rows):
        low = lows[row * row_bytes : (row + 1) * row_bytes]
        elements = b""
        for column in range(columns):
            part = low[column] if whole else 0
            for bit in range(low_bits % 8):
                byte = low[whole + bit * columns // 8 + column // 8]
                part |= (byte >> column % 8 & 1) << (bit + (8 if whole else 0))
            high = numbers[row][column] + (channels[column] >> 8) & (1 << bits) - 1
            above = part >> shift  # the sign
            element = part & (1 << shift) - 1 | high << shift | above << (shift + bits)
            if dtype == INT8:
                element ^= 0x80
            elements += element.to_bytes(ELEMENT[dtype], "little")
        out.append(elements)
    require(crc32c(b"".join(out)) == struct.unpack_from("<I", block)[0])
    return out


def kept_rows(block, at, kept, dtype, rows, columns, units):
    entries, least = {}, 0
    for _ in range(kept):
        require(len(block) >= at + 4)
        row, kind = struct.unpack_from("<2H", block, at)
        require(least <= row < rows and kind <= 1)
        size = 2 * units + columns if kind == 0 else columns * ELEMENT[dtype]
        require(len(block) >= at + 4 + size)
        entries[row] = (kind, block[at + 4 : at + 4 + size])
        if kind == 0:
            for unit in range(units):
                step_at(entries[row][1], 2 * unit)
        at += 4 + size
        least = row + 1
    return entries, at


def ladder_channels(block, at, columns):
    """(class, share, depth, mean) of each column, and where they end."""
    require(len(block) >= at + 2 * columns)
    channels, end = [], at + 2 * columns
    for column in range(columns):
        first, mean = block[at + column], struct.unpack_from("<b", block, at + columns + column)[0]
        depth = 0
        if first & 128:
            require(len(block) > end)
            depth, high = block[end] & 3, (block[end] >> 2 ^ 32) - 32
            mean = high * 256 + (mean & 255)
            end += 1
        channels.append((first & 15, first >> 4 & 7, depth, mean))
    return channels, end


def ladder_block(block, kept, dtype, rows, columns, unit_columns, n_planes, planes):
    """planes: the block's part of each plane that is wanted."""
    units = columns // unit_columns
    steps = [step_at(block, 2 * unit) for unit in range(units)]
    channels, at = ladder_channels(block, 2 * units, columns)
    classes, shares, depths, means = zip(*channels)
    means = [to_int16(mean * 3 ** (n_planes + depth)) for mean, depth in zip(means, depths)]
    entries, at = kept_rows(block, at, kept, dtype, rows, columns, units)
    n = rows - kept
    digit_bytes = (n + 4) // 5
    deep = []  # of each column a list of digits' bytes
    for depth in depths:
        deep.append([block[at + i * digit_bytes : at + (i + 1) * digit_bytes] for i in range(depth)])
        at += depth * digit_bytes
    require(at <= len(block))
    numbers, used = coded_rows(block[at:], classes, n)
    require(at + used == len(block))
    before = [0] * columns
    for row in numbers:
        for column, share in enumerate(shares):
            row[column] = to_int16(row[column] + (before[column] * share + 4 >> 3))
        before = row
    out, coded = [], 0
    for row in range(rows):
        elements = b""
        if row in entries:
            kind, entry = entries[row]
            for column in range(columns):
                if kind == 1:
                    size = ELEMENT[dtype]
                    elements += entry[column * size : (column + 1) * size]
                    continue
                q = struct.unpack_from("<b", entry, 2 * units + column)[0]
                unit = column // unit_columns
                x = binary32(means[column] * steps[unit] + q * step_at(entry, 2 * unit))
                elements += to_element(dtype, x)
            out.append(elements)
            continue
        for column in range(columns):
            i = numbers[coded][column]
            for digits in deep[column]:
                i = 3 * i + trit(digits[coded // 5], coded % 5)
            for plane in planes:
                i = 3 * i + trit(plane[coded // 5 * columns + column], coded % 5)
            v = to_int16(i * 2 * 3 ** (n_planes - len(planes)) + means[column])
            elements += to_element(dtype, v * steps[column // unit_columns])
        out.append(elements)
        coded += 1
    return out


def parts_of(heads, dim, rotary):
    """The blocks of a plane: (first column, columns, columns of a unit)."""
    if dim == 0:
        return []
    if dim <= 128 and rotary == 0:
        together = 128 // dim
        return [(head * dim, min(together, heads - head) * dim, dim) for head in range(0, heads, together)]
    parts = []
    for head in range(heads):
        at = 0
        while at < dim:
            end = dim - rotary if at < dim - rotary else dim
            columns = min(128, end - at)
            parts.append((head * dim + at, columns, columns))
            at += columns
    return parts


class Object:
    def __init__(self, data):
        self.data = data
        require(len(data) >= 80 and data[:4] == b"KVC1" and data[4] == 2)
        self.level, self.dtype, self.planes = data[5], data[6], data[7]
        self.header, crc, self.length = struct.unpack_from("<IIQ", data, 8)
        self.layers, self.tokens, self.heads, self.key_dim, self.value_dim, self.rotary = struct.unpack_from("<6H", data, 48)
        (windows,) = struct.unpack_from("<H", data, 72)
        table = 80 + (-(-2 * self.layers // 8) * 8 if windows else 0)
        entries = (self.planes + 1) * self.layers
        require(self.header == table + 8 * entries and self.header <= len(data))
        require(crc == crc32c(data[:12] + bytes(4) + data[16 : self.header]))
        self.first = struct.unpack_from("<%dH" % self.layers, data, 80) if windows else [0] * self.layers
        at, self.segments = self.header, []
        for i in range(entries):
            length, crc = struct.unpack_from("<II", data, table + 8 * i)
            self.segments.append((at, length, crc))
            at += length
        require(at == self.length)

    def segment(self, quality, layer):
        at, length, crc = self.segments[quality * self.layers + layer]
        require(at + length <= len(self.data))
        require(crc32c(self.data[at : at + length]) == crc)
        return self.data[at : at + length]

    def layer(self, layer, quality):
        if self.level == RAW:
            return self.segment(0, layer)
        rows = self.tokens - self.first[layer]
        base = self.segment(0, layer)
        planes = [self.segment(k, layer) for k in range(1, quality + 1)]
        out = b""
        for dim, rotary in ((self.key_dim, self.rotary), (self.value_dim, 0)):
            plane = [b""] * rows
            for _, columns, unit_columns in parts_of(self.heads, dim, rotary):
                block, base, planes = self.block(base, planes, rows, columns, unit_columns, quality)
                plane = [left + right for left, right in zip(plane, block)]
            out += b"".join(plane)
        require(not base and not any(planes))
        return out

    def block(self, base, planes, rows, columns, unit_columns, quality):
        require(len(base) >= 8)
        mode, zero, kept, length = struct.unpack_from("<BBHI", base)
        require(zero == 0 and 8 <= length <= len(base))
        inside = base[8:length]
        row_bytes = columns * ELEMENT[self.dtype]
        if mode == 2:
            require(self.level == LADDER and kept <= rows)
            size = (rows - kept + 4) // 5 * columns
            require(all(len(plane) >= size for plane in planes))
            mine = [plane[:size] for plane in planes]
            planes = [plane[size:] for plane in planes]
            block = ladder_block(inside, kept, self.dtype, rows, columns, unit_columns, self.planes, mine)
        else:
            require(mode <= 1 and kept == 0)
            if mode == 0:
                require(len(inside) == rows * row_bytes)
                block = [inside[row * row_bytes : (row + 1) * row_bytes] for row in range(rows)]
            else:
                block = lossless_block(inside, self.dtype, rows, columns)
        return block, base[length:], planes

    def decode(self, quality):
        return b"".join(self.layer(layer, quality) for layer in range(self.layers))


def status_of(data, quality):
    try:
        return "%08x" % crc32c(Object(data).decode(quality))
    except Corrupt:
        return "corrupt"


def golden_objects(path):
    with open(path, encoding="utf-8") as source:
        text = source.read()
    for name, crcs, text_hex in re.findall(r'\{"([^"]+)",\s*\{([^}]*)\},\s*((?:"[0-9a-f]*"\s*)+)\}', text):
        data = bytes.fromhex("".join(re.findall(r'"([0-9a-f]*)"', text_hex)))
        yield name, [int(crc, 16) for crc in crcs.split(",")], data


def check_golden(path):
    checked = failed = 0
    for name, crcs, data in golden_objects(path):
        if data[5] > LADDER:
            continue
        for quality, crc in enumerate(crcs):
            got = status_of(data, quality)
            checked += 1
            if got != "%08x" % crc:
                failed += 1
                print("%s at quality %d: %s, expected %08x" % (name, quality, got, crc))
    print("%d decoded, %d otherwise than expected" % (checked, failed))
    return checked > 0 and failed == 0


def main(arguments):
    make_tables(arguments[0])
    if arguments[1] == "--same":
        return 0 if read_weights(arguments[0]) == read_weights(arguments[2]) else 1
    if arguments[1] == "--golden":
        return 0 if check_golden(arguments[2]) else 1
    for path in arguments[1:]:
        with open(path, "rb") as source:
            data = source.read()
        print(path, *(status_of(data, quality) for quality in range(data[7] + 1)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
