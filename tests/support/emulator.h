// CUDA for a C++ compiler, slowly and strictly: what a kernel's source sees. emulator.cpp runs it, and emulator.py puts
// this before the source and adds a launcher for each kernel. No header of the library: so kernels compile in a blink.



#define __global__
#define __device__ static
#define __shared__ static __attribute__((section("block_memory")))
extern "C" __attribute__((weak, visibility("hidden"))) char __start_block_memory[], __stop_block_memory[];

struct Index {
    unsigned x, y, z;
};
extern Index threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();

// Run a grid; false if some threads of a block wait at a barrier that others never reach
extern "C" bool emulate(
    void (*thread)(void**), void** arguments, char* memory, unsigned long bytes, const unsigned* grid,
    const unsigned* block, unsigned order
);

template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }

#define OF_BOTH(name)                                              \
    inline float name(float a) { return __builtin_##name##f(a); } \
    inline double name(double a) { return __builtin_##name(a); }
namespace of_both {
OF_BOTH(exp)
OF_BOTH(fabs)
OF_BOTH(log1p)
OF_BOTH(sqrt)
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
}  // namespace of_both
#define exp of_both::exp
#define fabs of_both::fabs
#define log1p of_both::log1p
#define sqrt of_both::sqrt
#define fma of_both::fma
