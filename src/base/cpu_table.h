/* Instructions of x86-64 that a compiler uses on its own: name, the macro that
 * says it may, where CPUID shows them (leaf, subleaf, register, bit), which
 * registers the operating system has to save, and the level of x86-64 they
 * belong to (0: none). Shared by the check and by what is checked. */
#ifndef BASE_CPU_TABLE_H
#define BASE_CPU_TABLE_H

enum cpu_register { CPU_EAX, CPU_EBX, CPU_ECX, CPU_EDX };
enum cpu_state { CPU_ANY = 0, CPU_YMM = 0x6, CPU_ZMM = 0xe6, CPU_R31 = 0x80000 }; /* bits of XCR0 */

/* clang-format off */
#define CPU_TABLE(F)                                                                  \
    F(cx16, __GCC_HAVE_SYNC_COMPARE_AND_SWAP_16, 1, 0, CPU_ECX, 13, CPU_ANY, 2)       \
    F(lahf, __LAHF_SAHF__, 0x80000001, 0, CPU_ECX, 0, CPU_ANY, 2)                     \
    F(popcnt, __POPCNT__, 1, 0, CPU_ECX, 23, CPU_ANY, 2)                              \
    F(sse3, __SSE3__, 1, 0, CPU_ECX, 0, CPU_ANY, 2)                                   \
    F(ssse3, __SSSE3__, 1, 0, CPU_ECX, 9, CPU_ANY, 2)                                 \
    F(sse4_1, __SSE4_1__, 1, 0, CPU_ECX, 19, CPU_ANY, 2)                              \
    F(sse4_2, __SSE4_2__, 1, 0, CPU_ECX, 20, CPU_ANY, 2)                              \
    F(avx, __AVX__, 1, 0, CPU_ECX, 28, CPU_YMM, 3)                                    \
    F(avx2, __AVX2__, 7, 0, CPU_EBX, 5, CPU_YMM, 3)                                   \
    F(bmi, __BMI__, 7, 0, CPU_EBX, 3, CPU_ANY, 3)                                     \
    F(bmi2, __BMI2__, 7, 0, CPU_EBX, 8, CPU_ANY, 3)                                   \
    F(f16c, __F16C__, 1, 0, CPU_ECX, 29, CPU_YMM, 3)                                  \
    F(fma, __FMA__, 1, 0, CPU_ECX, 12, CPU_YMM, 3)                                    \
    F(lzcnt, __LZCNT__, 0x80000001, 0, CPU_ECX, 5, CPU_ANY, 3)                        \
    F(movbe, __MOVBE__, 1, 0, CPU_ECX, 22, CPU_ANY, 3)                                \
    F(avx512f, __AVX512F__, 7, 0, CPU_EBX, 16, CPU_ZMM, 4)                            \
    F(avx512bw, __AVX512BW__, 7, 0, CPU_EBX, 30, CPU_ZMM, 4)                          \
    F(avx512cd, __AVX512CD__, 7, 0, CPU_EBX, 28, CPU_ZMM, 4)                          \
    F(avx512dq, __AVX512DQ__, 7, 0, CPU_EBX, 17, CPU_ZMM, 4)                          \
    F(avx512vl, __AVX512VL__, 7, 0, CPU_EBX, 31, CPU_ZMM, 4)                          \
    F(avx512ifma, __AVX512IFMA__, 7, 0, CPU_EBX, 21, CPU_ZMM, 0)                      \
    F(avx512vbmi, __AVX512VBMI__, 7, 0, CPU_ECX, 1, CPU_ZMM, 0)                       \
    F(avx512vbmi2, __AVX512VBMI2__, 7, 0, CPU_ECX, 6, CPU_ZMM, 0)                     \
    F(avx512vnni, __AVX512VNNI__, 7, 0, CPU_ECX, 11, CPU_ZMM, 0)                      \
    F(avx512bitalg, __AVX512BITALG__, 7, 0, CPU_ECX, 12, CPU_ZMM, 0)                  \
    F(avx512vpopcntdq, __AVX512VPOPCNTDQ__, 7, 0, CPU_ECX, 14, CPU_ZMM, 0)            \
    F(avx512bf16, __AVX512BF16__, 7, 1, CPU_EAX, 5, CPU_ZMM, 0)                       \
    F(avx512fp16, __AVX512FP16__, 7, 0, CPU_EDX, 23, CPU_ZMM, 0)                      \
    F(avxvnni, __AVXVNNI__, 7, 1, CPU_EAX, 4, CPU_YMM, 0)                             \
    F(avxifma, __AVXIFMA__, 7, 1, CPU_EAX, 23, CPU_YMM, 0)                            \
    F(avxvnniint8, __AVXVNNIINT8__, 7, 1, CPU_EDX, 4, CPU_YMM, 0)                     \
    F(avxvnniint16, __AVXVNNIINT16__, 7, 1, CPU_EDX, 10, CPU_YMM, 0)                  \
    F(avxneconvert, __AVXNECONVERT__, 7, 1, CPU_EDX, 5, CPU_YMM, 0)                   \
    F(apx, __APX_F__, 7, 1, CPU_EDX, 21, CPU_R31, 0)                                  \
    F(gfni, __GFNI__, 7, 0, CPU_ECX, 8, CPU_ANY, 0)                                   \
    F(pclmul, __PCLMUL__, 1, 0, CPU_ECX, 1, CPU_ANY, 0)                               \
    F(vpclmulqdq, __VPCLMULQDQ__, 7, 0, CPU_ECX, 10, CPU_YMM, 0)                      \
    F(sse4a, __SSE4A__, 0x80000001, 0, CPU_ECX, 6, CPU_ANY, 0)                        \
    F(xop, __XOP__, 0x80000001, 0, CPU_ECX, 11, CPU_YMM, 0)                           \
    F(fma4, __FMA4__, 0x80000001, 0, CPU_ECX, 16, CPU_YMM, 0)                         \
    F(tbm, __TBM__, 0x80000001, 0, CPU_ECX, 21, CPU_ANY, 0)
/* clang-format on */

#define CPU_INDEX(name, ...) CPU_##name,
enum cpu_feature { CPU_TABLE(CPU_INDEX) CPU_FEATURES };
#undef CPU_INDEX

#endif
