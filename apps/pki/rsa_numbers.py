"""Known weaknesses of RSA moduli, after Boulder's `goodkey` package."""

from __future__ import annotations

from functools import cache
from math import gcd, isqrt, prod

SMALL_PRIMES = (
    *(3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97),
    *(101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167),
)
FERMAT_ROUNDS = 100
_PRODUCT = prod(SMALL_PRIMES)
# Nearly every number that is no square is told by one of its remainders, far cheaper than by its root.
_EVEN, _ODD = 64, 3 * 3 * 5 * 7 * 11 * 13
_SQUARES_MOD_EVEN = frozenset(number * number % _EVEN for number in range(_EVEN))
_SQUARES_MOD_ODD = frozenset(number * number % _ODD for number in range(_ODD))
# ROCA (CVE-2017-15361): primes of the faulty chips are 65537^a mod a primorial, so their products are powers of 65537
# modulo each small prime. 38 primes make a false alarm less likely than one in ten million.
_POWERS = {prime: frozenset(pow(65537, n, prime) for n in range(prime)) for prime in SMALL_PRIMES}


def has_small_factor(modulus: int) -> bool:
    """Whether a prime below 168 divides it: then it is no product of two large primes."""
    return gcd(modulus, _PRODUCT) > 1


def has_close_primes(modulus: int) -> bool:
    """Fermat's method, 100 rounds: finds the primes when they lie next to each other (CVE-2022-26320)."""
    middle = isqrt(modulus)
    middle += middle * middle < modulus
    first, wanted = middle % _ODD, modulus % _ODD
    for step in _rounds(middle % _EVEN, modulus % _EVEN):
        if ((first + step) ** 2 - wanted) % _ODD in _SQUARES_MOD_ODD:
            rest = (middle + step) ** 2 - modulus
            if isqrt(rest) ** 2 == rest:
                return True
    return False


@cache
def _rounds(middle: int, modulus: int) -> tuple[int, ...]:
    """The rounds that may end in a square, of all numbers with these two remainders."""
    squares = ((middle + step) ** 2 - modulus for step in range(FERMAT_ROUNDS))
    return tuple(step for step, rest in enumerate(squares) if rest % _EVEN in _SQUARES_MOD_EVEN)


def has_roca_fingerprint(modulus: int) -> bool:
    """Whether the modulus looks made by the chips of CVE-2017-15361."""
    return all(modulus % prime in _POWERS[prime] for prime in SMALL_PRIMES)
