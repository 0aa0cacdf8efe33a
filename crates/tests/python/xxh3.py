"""XXH3-64 with a seed, in plain Python: what the frame checksum needs (docs/protocol.md, section 2)."""

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
M32 = (1 << 32) - 1
M64 = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MX1, MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25


def u32(data, at):
    return int.from_bytes(data[at : at + 4], "little")


def u64(data, at):
    return int.from_bytes(data[at : at + 8], "little")


def rotate(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & M64


def fold(a, b):
    product = a * b
    return (product & M64) ^ (product >> 64)


def avalanche(h):
    h ^= h >> 37
    h = h * MX1 & M64
    return h ^ (h >> 32)


def avalanche_64(h):
    h ^= h >> 33
    h = h * P64_2 & M64
    h ^= h >> 29
    h = h * P64_3 & M64
    return h ^ (h >> 32)


def mix16(data, at, secret_at, seed):
    low = u64(data, at) ^ (u64(SECRET, secret_at) + seed & M64)
    high = u64(data, at + 8) ^ (u64(SECRET, secret_at + 8) - seed & M64)
    return fold(low, high)


def short(data, seed):
    n = len(data)
    if n > 8:
        low = (u64(SECRET, 24) ^ u64(SECRET, 32)) + seed & M64
        high = (u64(SECRET, 40) ^ u64(SECRET, 48)) - seed & M64
        low ^= u64(data, 0)
        high ^= u64(data, n - 8)
        swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
        return avalanche(n + swapped + high + fold(low, high) & M64)
    if n >= 4:
        seed ^= int.from_bytes((seed & M32).to_bytes(4, "little"), "big") << 32
        flip = (u64(SECRET, 8) ^ u64(SECRET, 16)) - seed & M64
        h = flip ^ (u32(data, n - 4) + (u32(data, 0) << 32))
        h ^= rotate(h, 49) ^ rotate(h, 24)
        h = h * MX2 & M64
        h ^= (h >> 35) + n & M64
        h = h * MX2 & M64
        return h ^ (h >> 28)
    if n > 0:
        word = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        return avalanche_64(word ^ ((u32(SECRET, 0) ^ u32(SECRET, 4)) + seed & M64))
    return avalanche_64(seed ^ u64(SECRET, 56) ^ u64(SECRET, 64))


def middle(data, seed):
    n = len(data)
    h = n * P64_1 & M64
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            h += mix16(data, 16 * i, 32 * i, seed)
            h += mix16(data, n - 16 * (i + 1), 32 * i + 16, seed)
        return avalanche(h & M64)
    for i in range(8):
        h += mix16(data, 16 * i, 16 * i, seed)
    h = avalanche(h & M64)
    for i in range(8, n // 16):
        h += mix16(data, 16 * i, 16 * (i - 8) + 3, seed)
    h += mix16(data, n - 16, 136 - 17, seed)
    return avalanche(h & M64)


def accumulate(acc, data, at, secret, secret_at):
    for i in range(8):
        value = u64(data, at + 8 * i)
        keyed = value ^ u64(secret, secret_at + 8 * i)
        acc[i ^ 1] = acc[i ^ 1] + value & M64
        acc[i] = acc[i] + (keyed & M32) * (keyed >> 32) & M64


def long(data, seed):
    secret = bytearray()
    for at in range(0, 192, 16):
        secret += (u64(SECRET, at) + seed & M64).to_bytes(8, "little")
        secret += (u64(SECRET, at + 8) - seed & M64).to_bytes(8, "little")
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    stripes, block = (len(data) - 1) // 64, (192 - 64) // 8
    for stripe in range(stripes):
        accumulate(acc, data, 64 * stripe, secret, 8 * (stripe % block))
        if stripe % block == block - 1:
            for i in range(8):
                a = acc[i] ^ (acc[i] >> 47) ^ u64(secret, 128 + 8 * i)
                acc[i] = a * P32_1 & M64
    accumulate(acc, data, len(data) - 64, secret, 192 - 64 - 7)
    h = len(data) * P64_1 & M64
    for i in range(4):
        a, b = acc[2 * i] ^ u64(secret, 11 + 16 * i), acc[2 * i + 1] ^ u64(secret, 19 + 16 * i)
        h += fold(a, b)
    return avalanche(h & M64)


def xxh3_64(data, seed=0):
    if len(data) <= 16:
        return short(data, seed)
    return middle(data, seed) if len(data) <= 240 else long(data, seed)
