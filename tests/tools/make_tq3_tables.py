#!/usr/bin/env python3
"""Prints src/codecs/tq3_tables.h: the codebooks of TurboQuant, quantizers of a normal distribution.

    tests/tools/make_tq3_tables.py > src/codecs/tq3_tables.h

3 bits and more: 100 rounds of Lloyd's algorithm for N(0, 1/group) in double precision, from the
quantiles on.  2 bits: the two-digit numbers that the format's tool has.  1 bit: the exact optimum.
"""
import math
import statistics
import struct

ROUNDS = 100
MOST_BITS = 8
GROUPS = (64, 128)  # an even and an odd power of two: every other group is one of them, scaled
PER_LINE = 8


def density(x):
    return 0.0 if math.isinf(x) else math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def mass(a, b):
    """Of the normal distribution between a and b; from the tail that keeps the digits."""
    if a > 0:
        return 0.5 * (math.erfc(a / math.sqrt(2)) - math.erfc(b / math.sqrt(2)))
    return 0.5 * (math.erfc(-b / math.sqrt(2)) - math.erfc(-a / math.sqrt(2)))


def lloyd(bits, group):
    n, sigma = 1 << bits, 1 / math.sqrt(group)
    normal = statistics.NormalDist()
    bounds = [sigma * normal.inv_cdf(i / n) for i in range(1, n)]
    for _ in range(ROUNDS):
        edges = [-math.inf] + [b / sigma for b in bounds] + [math.inf]
        book = [sigma * (density(a) - density(b)) / mass(a, b) for a, b in zip(edges, edges[1:])]
        bounds = [(x + y) / 2 for x, y in zip(book, book[1:])]
    return sorted(book)


def book(bits, group):
    if bits == 1:
        return [math.sqrt(2 / (math.pi * group))]
    if bits == 2:
        return [0.453 / math.sqrt(group), 1.51 / math.sqrt(group)]
    return lloyd(bits, group)[1 << (bits - 1):]


def bits_of(x):
    return "0x%08x" % struct.unpack("<I", struct.pack("<f", x))


def main():
    print("/* Made by tests/tools/make_tq3_tables.py: do not edit.\n *")
    print(" * Upper halves of the codebooks of 1 to 8 bits, one behind the other, as F32 bits; the lower")
    print(" * halves are their mirror images. */")
    print("#ifndef GLMQ_CODECS_TQ3_TABLES_H\n#define GLMQ_CODECS_TQ3_TABLES_H\n\n#include <stdint.h>\n")
    print("/* clang-format off */")
    print("/* [0]: groups of 64, [1]: groups of 128 */")
    print("static const uint32_t tq3_books[2][%d] = {" % ((1 << MOST_BITS) - 1))
    for group in GROUPS:
        print("    {")
        for bits in range(1, MOST_BITS + 1):
            numbers = [bits_of(x) for x in book(bits, group)]
            for i in range(0, len(numbers), PER_LINE):
                print("        %s," % ", ".join(numbers[i:i + PER_LINE]))
        print("    },")
    print("};\n/* clang-format on */\n#endif")


main()
