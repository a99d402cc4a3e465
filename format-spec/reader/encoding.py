"""Bytes as they are read: the types of [README], [records] and [tree]. Names in brackets are chapters of the specification."""
import itertools, struct
import zstandard
from nacl.exceptions import CryptoError

MAX_BYTES, MAX_ROWS, TOP, WRAP = 67_108_864, 3_355_443, 1 << 63, 1 << 64

class Damaged(ValueError): """Bytes that the format does not allow."""
ERRORS = ValueError, OSError, struct.error, zstandard.ZstdError, CryptoError, LookupError
def require(condition, what):
    if not condition: raise Damaged(what)
def ascending(items, what):
    require(all(a < b for a, b in itertools.pairwise(items)), f"{what} do not ascend")
    return items
def zigzag(number): return number >> 1 ^ -(number & 1)

class Bytes:  # read from the start to the end; methods are named like the types of bodies in [README]
    def __init__(self, data): self.data, self.at = data, 0
    def take(self, count):
        require(count <= len(self.data) - self.at, "ends early")
        self.at += count
        return self.data[self.at - count:self.at]
    def end(self, result=None):
        require(self.at == len(self.data), "bytes left over")
        return result
    def varint(self, bits=64, shortest=False):
        number, shift, byte = 0, 0, 128
        while byte > 127 and shift < bits:
            byte = self.u8()
            number, shift = number | (byte & 127) << shift, shift + 7
        require(byte < 128 and number < 1 << bits and (byte or shift == 7 or not shortest), "varint")
        return number
    def passed(self, read):  # the bytes that are read
        start = self.at
        read(self)
        return self.data[start:self.at]
    def u8(self): return self.take(1)[0]
    def choice(self, count): return range(count)[self.u8()]  # fails for an unknown variant
    def u32(self): return int.from_bytes(self.take(4), "little")
    def big(self, count): return int.from_bytes(self.take(count), "big")
    def flipped(self): return self.big(8) - TOP
    def short(self): return self.varint(64, True)  # the varint of [records] and [tree]
    def shorts(self, count): return [self.short() for _ in range(count)]
    def signed(self): return zigzag(self.varint())
    def id(self): return self.take(32)
    def bytes(self): return self.take(self.varint())
    def text(self): return self.bytes().decode()
    def pair(self): return self.text(), self.text()
    def list(self, item): return [item() for _ in range(self.varint())]
    def option(self, item): return item() if self.choice(2) else None

def leb(number): return bytes([number & 127 | 128]) + leb(number >> 7) if number > 127 else bytes([number])
