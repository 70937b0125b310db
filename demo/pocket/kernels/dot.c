// Dot products of quantized rows in 128-bit WebAssembly SIMD. wllama is compiled with llama.cpp's
// portable ones, which are scalar in good part; pocket_kernels.py puts these bodies in their place.
// Hence a function here calls no other, takes no stack and keeps nothing in memory.
//
// Each is a ggml_vec_dot_t of llama.cpp: *s = n weights `x` times n activations `y`, in the blocks
// of ggml-common.h. Products of bytes are added up in 16 bits as far as they fit: two of any, four
// where the weights have 5 bits, since no activation is -128.

#include <stdint.h>
#include <wasm_simd128.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#define KERNEL(name)                                                                               \
    __attribute__((export_name(#name))) void name(                                                 \
        int n, float *s, unsigned long bs, const uint8_t *x, unsigned long bx, const uint8_t *y,   \
        unsigned long by, int rows)

enum {
    SMALL = 32, // weights in a block
    SUPER = 256, // weights in a block of the K types
    Q8_0 = 2 + SMALL, // bytes of a block of activations for the first,
    Q8_1 = 2 + 2 + SMALL, // for those with a minimum,
    Q8_K = 4 + SUPER + 2 * SUPER / 16, // and for the second
};

INLINE v128_t bytes(const void *at) { return wasm_v128_load(at); }
INLINE v128_t low(v128_t q) { return wasm_v128_and(q, wasm_i8x16_splat(15)); }
INLINE v128_t high(v128_t q) { return wasm_v128_and(wasm_u16x8_shr(q, 4), wasm_i8x16_splat(15)); }
INLINE int pair(const uint8_t *at) { return at[0] | at[1] << 8; }
INLINE uint32_t word(const uint8_t *at) { return pair(at) | (uint32_t)pair(at + 2) << 16; }

typedef union { uint32_t bits; float value; } Float;

INLINE float whole_float(const uint8_t *at) { return (Float){word(at)}.value; }

INLINE float half_float(const uint8_t *at) {
    const uint32_t w = (uint32_t)pair(at) << 16, twice = w + w;
    const Float normal = {(twice >> 4) + (224u << 23)}, tiny = {(twice >> 17) | (126u << 23)};
    Float found = {.value = twice < 1u << 27 ? tiny.value - 0.5f : normal.value * 0x1.0p-112f};
    found.bits |= w & 0x80000000u;
    return found.value;
}

// Eight sums of two products each.
INLINE v128_t products(v128_t a, v128_t b) {
    return wasm_i16x8_add(wasm_i16x8_extmul_low_i8x16(a, b), wasm_i16x8_extmul_high_i8x16(a, b));
}

INLINE v128_t plus(v128_t sum, v128_t products, int scale) {
    return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(products, wasm_i16x8_splat(scale)));
}

INLINE v128_t scaled(v128_t sum, v128_t whole, float by) {
    const v128_t more = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(whole), wasm_f32x4_splat(by));
    return wasm_f32x4_add(sum, more);
}

INLINE float total(v128_t sum) {
    const v128_t two = wasm_f32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(two, 0) + wasm_f32x4_extract_lane(two, 1);
}

INLINE v128_t of_table(v128_t nibbles) { // that of IQ4_NL and IQ4_XS
    const v128_t table = wasm_i8x16_const(
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
    return wasm_i8x16_swizzle(table, nibbles);
}

// ---- blocks of 32 -------------------------------------------------------------------------------

INLINE v128_t small(v128_t first, v128_t second, const uint8_t *activations) {
    const v128_t a = products(first, bytes(activations));
    const v128_t b = products(second, bytes(activations + 16));
    return wasm_i32x4_add(wasm_i32x4_extadd_pairwise_i16x8(a), wasm_i32x4_extadd_pairwise_i16x8(b));
}

// Lanes of -1 where a bit of two bytes is set.
INLINE v128_t spread(const uint8_t *at) {
    const v128_t both = wasm_i16x8_splat(pair(at));
    const v128_t bit = wasm_i8x16_const(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    const v128_t each =
        wasm_i8x16_shuffle(both, both, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    return wasm_i8x16_eq(wasm_v128_and(each, bit), bit);
}

#define SMALL_KERNEL(name, size, first, second)                                                    \
    KERNEL(name) {                                                                                 \
        v128_t sum = wasm_f32x4_const_splat(0);                                                    \
        for (; n > 0; n -= SMALL, x += size, y += Q8_0)                                            \
            sum = scaled(sum, small(first, second, y + 2), half_float(x) * half_float(y));         \
        *s = total(sum);                                                                           \
    }

#define LESS_EIGHT(q) wasm_i8x16_sub(q, wasm_i8x16_splat(8))
#define LESS_BIT(q, at) wasm_v128_or(q, wasm_v128_andnot(wasm_i8x16_splat(-16), spread(at)))

SMALL_KERNEL(q4_0, 18, LESS_EIGHT(low(bytes(x + 2))), LESS_EIGHT(high(bytes(x + 2))))
SMALL_KERNEL(q5_0, 22, LESS_BIT(low(bytes(x + 6)), x + 2), LESS_BIT(high(bytes(x + 6)), x + 4))
SMALL_KERNEL(q8_0, 34, bytes(x + 2), bytes(x + 18))
SMALL_KERNEL(iq4_nl, 18, of_table(low(bytes(x + 2))), of_table(high(bytes(x + 2))))

// Those with a minimum beside the scale.
#define MINIMUM_KERNEL(name, size, first, second)                                                  \
    KERNEL(name) {                                                                                 \
        v128_t sum = wasm_f32x4_const_splat(0);                                                    \
        float minima = 0;                                                                          \
        for (; n > 0; n -= SMALL, x += size, y += Q8_1) {                                          \
            sum = scaled(sum, small(first, second, y + 4), half_float(x) * half_float(y));         \
            minima += half_float(x + 2) * half_float(y + 2);                                       \
        }                                                                                          \
        *s = total(sum) + minima;                                                                  \
    }

#define MORE_BIT(q, at) wasm_v128_or(q, wasm_v128_and(wasm_i8x16_splat(16), spread(at)))

MINIMUM_KERNEL(q4_1, 20, low(bytes(x + 4)), high(bytes(x + 4)))
MINIMUM_KERNEL(q5_1, 24, MORE_BIT(low(bytes(x + 8)), x + 4), MORE_BIT(high(bytes(x + 8)), x + 6))

// ---- superblocks of 256 -------------------------------------------------------------------------

#define BYTE(words, at) ((int)((words)[(at) / 4] >> 8 * ((at) % 4) & 255))
#define SUMS(y) ((y) + 4 + SUPER) // a block of Q8_K keeps the sum of every 16 activations

// Scales and minima of eight parts, 6 bits each, as Q4_K and Q5_K pack them in 12 bytes.
typedef struct { uint32_t scales[2]; v128_t minima; } Packed;

INLINE Packed unpacked(const uint8_t *at) {
    const uint32_t a = word(at), b = word(at + 4), c = word(at + 8);
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
    const v128_t minima = wasm_i32x4_make(b & six, (c >> 4 & four) | (b >> 2 & top), 0, 0);
    return (Packed){{a & six, (c & four) | (a >> 2 & top)}, wasm_u16x8_extend_low_u8x16(minima)};
}

INLINE v128_t of_minima(v128_t m, const uint8_t *y) {
    const v128_t first = wasm_i16x8_shuffle(m, m, 0, 0, 1, 1, 2, 2, 3, 3);
    const v128_t second = wasm_i16x8_shuffle(m, m, 4, 4, 5, 5, 6, 6, 7, 7);
    return wasm_i32x4_add(wasm_i32x4_dot_i16x8(bytes(SUMS(y)), first),
                          wasm_i32x4_dot_i16x8(bytes(SUMS(y) + 16), second));
}

// Sixteen signed scales times the sums: what a constant in all weights adds.
INLINE v128_t of_constant(v128_t scales, const uint8_t *y) {
    const v128_t first = wasm_i16x8_extend_low_i8x16(scales);
    const v128_t second = wasm_i16x8_extend_high_i8x16(scales);
    return wasm_i32x4_add(wasm_i32x4_dot_i16x8(bytes(SUMS(y)), first),
                          wasm_i32x4_dot_i16x8(bytes(SUMS(y) + 16), second));
}

// A bit of each byte, in the place of another one.
INLINE v128_t moved(v128_t q, int from, int to) {
    const v128_t there = from < to ? wasm_i16x8_shl(q, to - from) : wasm_u16x8_shr(q, from - to);
    return wasm_v128_and(there, wasm_i8x16_splat(1 << to));
}

INLINE v128_t part(v128_t q0, v128_t q1, const uint8_t *activations) {
    return wasm_i16x8_add(products(q0, bytes(activations)), products(q1, bytes(activations + 16)));
}

#define NIBBLE_KERNEL(name, size, quants, first, second)                                           \
    KERNEL(name) {                                                                                 \
        v128_t sum = wasm_f32x4_const_splat(0);                                                    \
        for (; n > 0; n -= SUPER, x += size, y += Q8_K) {                                          \
            const Packed packed = unpacked(x + 4);                                                 \
            v128_t whole = wasm_i32x4_const_splat(0);                                              \
            UNROLL for (int i = 0; i < 8; i += 2) {                                                \
                const v128_t q0 = bytes(x + quants + 16 * i), q1 = bytes(x + quants + 16 * i + 16);\
                const uint8_t *a = y + 4 + 32 * i;                                                 \
                whole = plus(whole, part(first(q0, 16, i), first(q1, 32, i), a),                   \
                             BYTE(packed.scales, i));                                              \
                whole = plus(whole, part(second(q0, 16, i + 1), second(q1, 32, i + 1), a + 32),    \
                             BYTE(packed.scales, i + 1));                                          \
            }                                                                                      \
            const float d = whole_float(y);                                                        \
            sum = scaled(sum, whole, half_float(x) * d);                                           \
            sum = scaled(sum, of_minima(packed.minima, y), -half_float(x + 2) * d);                \
        }                                                                                          \
        *s = total(sum);                                                                           \
    }

#define LOW(q, at, bit) low(q)
#define HIGH(q, at, bit) high(q)
#define LOW_FIFTH(q, at, bit) wasm_v128_or(low(q), moved(bytes(x + at), bit, 4))
#define HIGH_FIFTH(q, at, bit) wasm_v128_or(high(q), moved(bytes(x + at), bit, 4))

NIBBLE_KERNEL(q4_k, 144, 16, LOW, HIGH)
NIBBLE_KERNEL(q5_k, 176, 48, LOW_FIFTH, HIGH_FIFTH)

KERNEL(q6_k) { // weights from -32, read as from 0
    const v128_t top = wasm_i8x16_splat(0x30);
    v128_t sum = wasm_f32x4_const_splat(0);
    for (; n > 0; n -= SUPER, x += 210, y += Q8_K) {
        const uint8_t *scales = x + 192;
        v128_t whole = wasm_i32x4_const_splat(0);
        UNROLL for (int i = 0; i < 8; i++) { // bytes of 16 weights and of the 16 that are 64 on
            const v128_t q = bytes(x + 16 * i), h = bytes(x + 128 + 32 * (i / 4) + 16 * (i % 2));
            const v128_t h0 = wasm_i16x8_shl(h, i & 2 ? 2 : 4);
            const v128_t h1 = wasm_u16x8_shr(h, i & 2 ? 2 : 0);
            const v128_t q0 = wasm_v128_or(low(q), wasm_v128_and(h0, top));
            const v128_t q1 = wasm_v128_or(high(q), wasm_v128_and(h1, top));
            const int place = 8 * (i / 4) + i % 4;
            const uint8_t *a = y + 4 + 16 * place;
            whole = plus(whole, products(q0, bytes(a)), (int8_t)scales[place]);
            whole = plus(whole, products(q1, bytes(a + 64)), (int8_t)scales[place + 4]);
        }
        whole = wasm_i32x4_sub(whole, wasm_i32x4_shl(of_constant(bytes(scales), y), 5));
        sum = scaled(sum, whole, half_float(x + 208) * whole_float(y));
    }
    *s = total(sum);
}

KERNEL(q3_k) { // weights from -4, read as from 0
    const uint32_t four = 0x0f0f0f0f, pairs = 0x03030303;
    v128_t sum = wasm_f32x4_const_splat(0);
    for (; n > 0; n -= SUPER, x += 110, y += Q8_K) {
        const uint32_t a = word(x + 96), b = word(x + 100), c = word(x + 104);
        const uint32_t scales[] = {(a & four) | (c & pairs) << 4,
                                   (b & four) | (c >> 2 & pairs) << 4,
                                   (a >> 4 & four) | (c >> 4 & pairs) << 4,
                                   (b >> 4 & four) | (c >> 6 & pairs) << 4};
        v128_t whole = wasm_i32x4_const_splat(0);
        UNROLL for (int i = 0; i < 16; i++) { // 16 weights each
            const v128_t lows = bytes(x + 32 + 32 * (i / 8) + 16 * (i % 2));
            const v128_t third = moved(bytes(x + 16 * (i % 2)), i / 2, 2);
            const v128_t two = wasm_v128_and(wasm_u16x8_shr(lows, i % 8 & 6), wasm_i8x16_splat(3));
            const v128_t q = wasm_v128_or(two, third);
            whole = plus(whole, products(q, bytes(y + 4 + 16 * i)), BYTE(scales, i) - 32);
        }
        const v128_t packed = wasm_i32x4_make(scales[0], scales[1], scales[2], scales[3]);
        const v128_t all = wasm_i8x16_sub(packed, wasm_i8x16_splat(32));
        whole = wasm_i32x4_sub(whole, wasm_i32x4_shl(of_constant(all, y), 2));
        sum = scaled(sum, whole, half_float(x + 108) * whole_float(y));
    }
    *s = total(sum);
}

KERNEL(iq4_xs) {
    v128_t sum = wasm_f32x4_const_splat(0);
    for (; n > 0; n -= SUPER, x += 136, y += Q8_K) {
        const uint32_t tops = pair(x + 2), lows = word(x + 4);
        v128_t whole = wasm_i32x4_const_splat(0);
        UNROLL for (int i = 0; i < 8; i++) {
            const int scale = (int)((lows >> 4 * i & 15) | (tops >> 2 * i & 3) << 4) - 32;
            const v128_t q = bytes(x + 8 + 16 * i);
            const uint8_t *a = y + 4 + 32 * i;
            whole = plus(whole, products(of_table(low(q)), bytes(a)), scale);
            whole = plus(whole, products(of_table(high(q)), bytes(a + 16)), scale);
        }
        sum = scaled(sum, whole, half_float(x) * whole_float(y));
    }
    *s = total(sum);
}
