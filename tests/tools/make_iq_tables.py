#!/usr/bin/env python3
"""Prints src/codecs/iq_tables.h from the list of ggml's codebooks (iq-grids.json).

    tests/tools/make_iq_tables.py iq-grids.json > src/codecs/iq_tables.h

An entry is a vector of digits; a digit stands for one of at most eight magnitudes.  All digits of
an entry go into one 16-bit number, element 0 in the lowest bits: 2 bits a digit where there are 8,
3 bits where there are 4.  What a digit stands for is a formula in iq_block.h, printed as a comment.
"""
import json
import sys

ORDER = ["iq2xxs", "iq2xs", "iq2s", "iq3xxs", "iq3s", "iq1s"]
PER_LINE = 12


def packed(entry, bits):
    return sum(int(digit) << bits * i for i, digit in enumerate(entry))


def table(name, grid):
    bits = {8: 2, 4: 3}[grid["dim"]]
    numbers = ["0x%04x" % packed(e, bits) for e in grid["entries"]]
    if len(numbers) != grid["n"] or any(len(e) != grid["dim"] for e in grid["entries"]):
        sys.exit("%s: the list contradicts itself" % name)
    lines = [", ".join(numbers[i:i + PER_LINE]) for i in range(0, len(numbers), PER_LINE)]
    values = " ".join(str(v) for v in grid["values"])
    return "/* %d digits of %d bits: %s */\nstatic const uint16_t %s_grid[%d] = {\n    %s\n};\n" % (
        grid["dim"], bits, values, name, grid["n"], ",\n    ".join(lines))


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        grids = json.load(f)
    print("/* Made by tests/tools/make_iq_tables.py from ggml's codebooks: do not edit.\n *")
    print(" * One number an entry, element 0 in the lowest bits; iq_block.h turns digits into values. */")
    print("#ifndef GLMQ_CODECS_IQ_TABLES_H\n#define GLMQ_CODECS_IQ_TABLES_H\n\n#include <stdint.h>\n")
    print("/* clang-format off */\n")
    print("\n".join(table(name, grids[name + "_grid"]) for name in ORDER))
    print("/* clang-format on */\n#endif")


main()
