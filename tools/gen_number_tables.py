"""Writes number_tables.c: the powers of ten that reading and writing numbers share.

Entry i holds 10**q for q = Q_MIN + i as a 128-bit significand whose top bit is set: 10**q = significand * 2**(e - 127)
with e = floor(log2(10**q)). Rounded down for q >= 0 (exact up to 10**55), up for q < 0, which is what the proofs of
the reading algorithm ask for; the writing algorithm wants it rounded up everywhere and adds one where q > 55.

Usage: gen_number_tables.py OUTPUT
"""
import sys

Q_MIN, Q_MAX = -342, 324


def significand(q):
    """128 bits of 10**q; the power of two in it only moves the exponent, so 5**|q| is enough."""
    power = 5 ** abs(q)
    if q >= 0:
        shift = power.bit_length() - 128
        return power >> shift if shift > 0 else power << -shift
    bits = power.bit_length() + 127  # 2**bits / power lies in (2**127, 2**128]
    value = -(-(1 << bits) // power)
    assert value < 1 << 128
    return value


def main():
    lines = ['/* Made by tools/gen_number_tables.py: do not edit. */', '#include "tensor/number_internal.h"', '',
             'const uint64_t sw_power_table[SW_POWER_MAX - SW_POWER_MIN + 1][2] = {']
    for q in range(Q_MIN, Q_MAX + 1):
        value = significand(q)
        assert value.bit_length() == 128
        lines.append('    {0x%016xu, 0x%016xu}, /* 1e%d */' % (value >> 64, value & (1 << 64) - 1, q))
    lines += ['};', f'_Static_assert(SW_POWER_MIN == {Q_MIN} && SW_POWER_MAX == {Q_MAX}, "range of the table");', '']
    with open(sys.argv[1], 'w', encoding='ascii') as output:
        output.write('\n'.join(lines))


main()
