// What all kernels share; put before each source. The compiler is given
//
//   REAL   float or double
//   LANES  how many numbers a thread moves at once, a Pack: 1, or as many as 16 bytes hold if all sizes are multiples
//
// Sizes are in packs, if nothing else is said. Sums are made in an order that depends on the sizes only: no atomics.

struct alignas(LANES * sizeof(REAL)) Pack {
    REAL lane[LANES];
};

#define EACH_LANE _Pragma("unroll") for (int l = 0; l < LANES; l++)

const int THREADS = 256;  // in a block, at most

// y = max(a, slope·a) for a slope in [0, 1], and the derivative with respect to a times d
__device__ inline REAL leaky(REAL a, REAL slope) { return a > 0 ? a : slope * a; }
__device__ inline REAL leaky_slope(REAL a, REAL d, REAL slope) { return a > 0 ? d : slope * d; }

// The sum of the packs of all threads of a column of the block, halving their number; all of them get it.
__device__ inline Pack sum_over_y(Pack value) {
    __shared__ Pack shared[THREADS];
    int at = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();  // a sum before this one may still be read
    shared[at] = value;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) EACH_LANE shared[at].lane[l] += shared[at + half * blockDim.x].lane[l];
    }
    __syncthreads();
    return shared[threadIdx.x];
}
