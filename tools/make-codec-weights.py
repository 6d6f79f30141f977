#!/usr/bin/env python3
"""Prints tiers/codec/weights.c: the weights of the codec's classes (docs/formats/kvc1.md, "Tables").

The weights are part of the format: the file is kept in the tree, and this program is kept to say where the numbers
come from. Usage: tools/make-codec-weights.py > tiers/codec/weights.c
"""

import math

HEAD = '''/*
 * The weights of the classes, part of the format (docs/formats/kvc1.md, "Tables"): they never change, a new set gets a new
 * number. Made by tools/make-codec-weights.py, which says what distribution stands behind each.
 */
#include "tiers/codec/weights.h"

const uint16_t kvi_class_weights[KVI_CLASSES][16] = {'''


def gauss(x, mean, sigma):
    return 0.5 * (1 + math.erf((x - mean) / (sigma * math.sqrt(2))))


def laplace(x, mean, sigma):
    b = sigma / math.sqrt(2)
    z = x - mean
    return 0.5 * math.exp(z / b) if z < 0 else 1 - 0.5 * math.exp(-z / b)


def weights(probabilities):
    """15 probabilities, and what is left for the escape, as integers that sum up to 2^15."""
    p = probabilities + [max(0.0, 1 - sum(probabilities))]
    total = sum(p)
    w = [round(x / total * 32768) for x in p]
    w[15] = max(w[15], 1)
    likeliest = max(range(15), key=lambda i: w[i])
    w[likeliest] += 32768 - sum(w)
    return w


def quantised(sigma):
    """A number that was divided by a step, 1/sigma of its standard deviation, and rounded: 85 % Gauss, 15 % Laplace."""

    def cdf(x):
        return 0.85 * gauss(x, 0, sigma) + 0.15 * laplace(x, 0, sigma)

    return weights([cdf(i + 0.5) - cdf(i - 0.5) for i in range(-7, 8)])


def exponent(mean, sigma, cdf):
    """The binary exponent of a number with this mean and deviation, less the reference that covers most."""

    def share(low, high):
        return cdf(high, mean, sigma) - cdf(low, mean, sigma) + cdf(-low, mean, sigma) - cdf(-high, mean, sigma)

    best = []
    for reference in range(-12, 13):
        p = [share(2.0 ** (reference + k), 2.0 ** (reference + k + 1)) for k in range(-7, 8)]
        if sum(p) > sum(best) + 1e-9:
            best = p
    return weights(best)


def main():
    rows = [[0] * 16]
    for i in range(15):
        rows.append(quantised(0.06 * (2.6 / 0.06) ** (i / 14)))
    rows.append([0] * 16)
    for cdf in (gauss, laplace):
        for quarter in range(4):
            rows.append(exponent(0.0, 2 ** (quarter / 4), cdf))
    for ratio, parts in ((0.5, 2), (1, 2), (1.5, 2), (2, 3), (3, 3), (4, 3), (7, 3)):
        for part in range(parts):
            sigma = 2 ** (part / parts)
            rows.append(exponent(ratio * sigma, sigma, gauss))
    for p in (0.5, 0.2, 0.05, 0.01, 0.001):
        rows.append(weights([0.0] * 7 + [1 - p - 0.0005, p] + [0.0] * 6))
    assert len(rows) == 48 and all(sum(row) in (0, 32768) for row in rows)
    print(HEAD)
    for row in rows:
        print("    {" + ", ".join(str(w) for w in row) + "},")
    print("};")


main()
