// What is done to rows (M, C) channel by channel. A block has the rows blockIdx.x·height and on, blockDim.y of them at
// a time, and in each blockDim.x packs of channels.

// y[m,c] = f(y[m,c] + b[c])        f: leaky ReLU; with slope = 1, nothing
extern "C" __global__ void bias_leaky(Pack* y, const Pack* b, int m, int c, int height, REAL slope) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x;
    if (channel >= c) return;
    Pack bias = b[channel];
    long long stop = min((long long)m, (blockIdx.x + 1LL) * height);
    for (long long r = (long long)blockIdx.x * height + threadIdx.y; r < stop; r += blockDim.y) {
        Pack here = y[r * c + channel];
        EACH_LANE here.lane[l] = leaky(here.lane[l] + bias.lane[l], slope);
        y[r * c + channel] = here;
    }
}

// d[m,c] = f' dy[m,c], where the sign of y tells the slope f', and over the rows of a block sums[block,c] = Σ_m d[m,c]
extern "C" __global__ void bias_leaky_backward(
    const Pack* dy, const Pack* y, Pack* d, Pack* sums, int m, int c, int height, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x;
    long long stop = channel < c ? min((long long)m, (blockIdx.x + 1LL) * height) : 0;
    Pack sum = {};
    for (long long r = (long long)blockIdx.x * height + threadIdx.y; r < stop; r += blockDim.y) {
        Pack here = dy[r * c + channel], sign = y[r * c + channel];
        EACH_LANE here.lane[l] = leaky_slope(sign.lane[l], here.lane[l], slope);
        EACH_LANE sum.lane[l] += here.lane[l];
        d[r * c + channel] = here;
    }
    sum = sum_over_y(sum);
    if (threadIdx.y == 0 && channel < c) sums[(long long)blockIdx.x * c + channel] = sum;
}

// sums[block,c] = Σ_m a[m,c] over the rows of a block, added to what is there if `add` is 1; blockIdx.z counts matrices
extern "C" __global__ void sum_rows(const Pack* a, Pack* sums, int m, int c, int height, int add) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x;
    long long stop = channel < c ? min((long long)m, (blockIdx.x + 1LL) * height) : 0;
    a += (long long)blockIdx.z * m * c;
    Pack sum = {};
    for (long long r = (long long)blockIdx.x * height + threadIdx.y; r < stop; r += blockDim.y) {
        Pack here = a[r * c + channel];
        EACH_LANE sum.lane[l] += here.lane[l];
    }
    sum = sum_over_y(sum);
    if (threadIdx.y > 0 || channel >= c) return;
    Pack* out = sums + ((long long)blockIdx.z * gridDim.x + blockIdx.x) * c + channel;
    if (add) EACH_LANE sum.lane[l] += out->lane[l];
    *out = sum;
}
