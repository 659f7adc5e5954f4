// Batch normalisation of rows (parts·M, C), each part with statistics of its own; see tinygan/layers/normalization.py.
// A block has the rows blockIdx.x·height and on of part blockIdx.z, blockDim.y of them at a time, and blockDim.x packs
// of channels. Where one block has all M rows of its channels, the kernels ..._at_once do everything in one launch.

// n numbers with this mean and this sum of squares around it, one group for each lane
struct Moments {
    Pack mean, squares;
    REAL n;
};

// Two groups become one: what lies between their means belongs to the squares (Chan, Golub and LeVeque, 1979).
__device__ inline void merge(Moments& a, const Moments& b) {
    if (b.n == 0) return;
    REAL part = b.n / (a.n + b.n);
    EACH_LANE {
        REAL apart = b.mean.lane[l] - a.mean.lane[l];
        a.mean.lane[l] += apart * part;
        a.squares.lane[l] += b.squares.lane[l] + apart * apart * a.n * part;
    }
    a.n += b.n;
}

// The groups of all threads of a column of the block as one, halving their number; all of them get it.
__device__ inline Moments merge_over_y(Moments own) {
    __shared__ Moments shared[THREADS];
    int at = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();  // what was merged before may still be read
    shared[at] = own;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) merge(shared[at], shared[at + half * blockDim.x]);
    }
    __syncthreads();
    return shared[threadIdx.x];
}

// mean[part,block,c] and squares[part,block,c] = Σ (x − mean)² of a block's rows. Run twice: first over the rows of x,
// with squares_in = 0 and each = 1; then in one block over what the blocks found, each of which had seen `each` rows,
// but for the last one. There are m rows of x in a part.
extern "C" __global__ void moments(
    const Pack* x, const Pack* squares_in, Pack* mean, Pack* squares, int m, int each, int c, int height
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x, rows = (m + each - 1) / each;
    int start = blockIdx.x * height, stop = channel < c ? min(rows, start + height) : 0;
    Moments own = {};
    for (int r = start + threadIdx.y; r < stop; r += blockDim.y) {
        long long at = ((long long)blockIdx.z * rows + r) * c + channel;
        merge(own, {x[at], squares_in ? squares_in[at] : Pack{}, (REAL)min(each, m - r * each)});
    }
    own = merge_over_y(own);
    if (threadIdx.y > 0 || channel >= c) return;
    long long out = ((long long)blockIdx.z * gridDim.x + blockIdx.x) * c + channel;
    mean[out] = own.mean;
    squares[out] = own.squares;
}

// running ← momentum · running + (1 − momentum) · new, where the new variance is the unbiased one
__device__ inline void move(Pack& running_mean, Pack& running_var, Pack mean, Pack squares, REAL count, REAL momentum) {
    EACH_LANE {
        REAL unbiased = squares.lane[l] / (count - 1);
        running_mean.lane[l] = momentum * running_mean.lane[l] + (1 - momentum) * mean.lane[l];
        running_var.lane[l] = momentum * running_var.lane[l] + (1 - momentum) * unbiased;
    }
}

// z = scale · (x − mean) + shift, by the same operations wherever it is needed, so that its sign is the same, too
__device__ inline REAL affine(REAL x, REAL mean, REAL scale, REAL shift) { return fma(x - mean, scale, shift); }

// y[m,c] = f(gamma[c] · (x[m,c] − mean[c]) · inv_std[c] + beta[c]),      inv_std = 1 / √(squares / count + eps)
//
// f: leaky ReLU; with slope = 1, nothing. If there are running statistics, they are moved by each part in turn.
extern "C" __global__ void normalise(
    const Pack* x, const Pack* mean, const Pack* squares, const Pack* gamma, const Pack* beta, Pack* y, Pack* inv_std,
    Pack* running_mean, Pack* running_var, int m, int c, int height, REAL count, REAL eps, REAL momentum, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x;
    if (channel >= c) return;
    long long part = blockIdx.z, own = part * c + channel;
    Pack middle = mean[own], scale = squares[own], shift = beta[channel], factor = gamma[channel];
    EACH_LANE scale.lane[l] = 1 / sqrt(scale.lane[l] / count + eps);
    if (blockIdx.x == 0 && threadIdx.y == 0) {
        inv_std[own] = scale;
        if (part == 0 && running_mean)
            for (int k = 0; k < gridDim.z; k++) {
                int at = k * c + channel;
                move(running_mean[channel], running_var[channel], mean[at], squares[at], count, momentum);
            }
    }
    EACH_LANE scale.lane[l] *= factor.lane[l];
    int stop = min(m, (int)(blockIdx.x + 1) * height);
    for (int r = blockIdx.x * height + threadIdx.y; r < stop; r += blockDim.y) {
        long long at = (part * m + r) * c + channel;
        Pack here = x[at];
        EACH_LANE here.lane[l] = leaky(affine(here.lane[l], middle.lane[l], scale.lane[l], shift.lane[l]), slope);
        y[at] = here;
    }
}

// moments and normalise in one, for all parts one after the other
extern "C" __global__ void forward_at_once(
    const Pack* x, const Pack* gamma, const Pack* beta, Pack* y, Pack* mean, Pack* inv_std, Pack* running_mean,
    Pack* running_var, int parts, int m, int c, REAL eps, REAL momentum, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x, rows = channel < c ? m : 0;
    bool writes = threadIdx.y == 0 && channel < c;
    for (int k = 0; k < parts; k++) {
        const Pack* in = x + (long long)k * m * c + channel;
        Pack* out = y + (long long)k * m * c + channel;
        Moments own = {};
        for (int r = threadIdx.y; r < rows; r += blockDim.y) merge(own, {in[(long long)r * c], {}, 1});
        own = merge_over_y(own);
        Pack scale, shift, factor;
        EACH_LANE scale.lane[l] = 1 / sqrt(own.squares.lane[l] / m + eps);
        if (writes) {
            mean[k * c + channel] = own.mean;
            inv_std[k * c + channel] = scale;
            move(running_mean[channel], running_var[channel], own.mean, own.squares, m, momentum);
        }
        if (rows) shift = beta[channel], factor = gamma[channel];
        EACH_LANE scale.lane[l] *= factor.lane[l];
        for (int r = threadIdx.y; r < rows; r += blockDim.y) {
            Pack here = in[(long long)r * c];
            EACH_LANE here.lane[l] = leaky(affine(here.lane[l], own.mean.lane[l], scale.lane[l], shift.lane[l]), slope);
            out[(long long)r * c] = here;
        }
    }
}

// What a channel of a part needs on its way back
struct Channel {
    Pack mean, inv_std, scale, shift;  // scale = gamma · inv_std
};

__device__ inline Channel channel_of(
    const Pack* mean, const Pack* inv_std, const Pack* gamma, const Pack* beta, long long own, int channel
) {
    Channel found = {mean[own], inv_std[own], gamma[channel], beta[channel]};
    EACH_LANE found.scale.lane[l] *= found.inv_std.lane[l];
    return found;
}

// What passes through f backward: d = f'(z) dy
__device__ inline REAL before(REAL dy, REAL x, const Channel& of, int l, REAL slope) {
    return leaky_slope(affine(x, of.mean.lane[l], of.scale.lane[l], of.shift.lane[l]), dy, slope);
}

// plain += d and centred += d · (x − mean)
__device__ inline void add_terms(Pack& plain, Pack& centred, Pack x, Pack dy, const Channel& of, REAL slope) {
    EACH_LANE {
        REAL d = before(dy.lane[l], x.lane[l], of, l, slope);
        plain.lane[l] += d;
        centred.lane[l] += d * (x.lane[l] - of.mean.lane[l]);
    }
}

// dx = gamma · inv_std · (d − Σ d / count − (x − mean) · inv_std² · Σ d (x − mean) / count), from the sums by count
__device__ inline Pack slope_of(Pack x, Pack dy, const Channel& of, Pack plain, Pack centred, REAL slope) {
    EACH_LANE {
        REAL d = before(dy.lane[l], x.lane[l], of, l, slope), std = of.inv_std.lane[l];
        REAL through_var = (x.lane[l] - of.mean.lane[l]) * (std * std * centred.lane[l]);
        dy.lane[l] = of.scale.lane[l] * (d - plain.lane[l] - through_var);
    }
    return dy;
}

// Over the rows of a block, sums[0,part,block,c] = Σ_m d[m,c] and sums[1,part,block,c] = Σ_m d[m,c] (x[m,c] − mean[c])
extern "C" __global__ void backward_sums(
    const Pack* x, const Pack* dy, const Pack* mean, const Pack* inv_std, const Pack* gamma, const Pack* beta,
    Pack* sums, int m, int c, int height, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x, stop = 0;
    long long part = blockIdx.z;
    Pack plain = {}, centred = {};
    Channel of;
    if (channel < c) {
        of = channel_of(mean, inv_std, gamma, beta, part * c + channel, channel);
        stop = min(m, (int)(blockIdx.x + 1) * height);
    }
    for (int r = blockIdx.x * height + threadIdx.y; r < stop; r += blockDim.y) {
        long long at = (part * m + r) * c + channel;
        add_terms(plain, centred, x[at], dy[at], of, slope);
    }
    plain = sum_over_y(plain);
    centred = sum_over_y(centred);
    if (threadIdx.y > 0 || channel >= c) return;
    long long own = (part * gridDim.x + blockIdx.x) * c + channel;
    sums[own] = plain;
    sums[(long long)gridDim.z * gridDim.x * c + own] = centred;
}

// dbeta[c] = Σ_m d[m,c]      dgamma[c] = Σ_m d[m,c] x̂[m,c]      from the sums (2, parts, C), over all parts
//
// add: whether they are added to what is there
extern "C" __global__ void store_grads(
    const Pack* sums, const Pack* inv_std, Pack* dgamma, Pack* dbeta, int parts, int c, int add
) {
    int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= c) return;
    Pack beta = add ? dbeta[channel] : Pack{}, gamma = add ? dgamma[channel] : Pack{};
    for (int k = 0; k < parts; k++) {
        Pack plain = sums[k * c + channel], centred = sums[(parts + k) * c + channel], by = inv_std[k * c + channel];
        EACH_LANE beta.lane[l] += plain.lane[l];
        EACH_LANE gamma.lane[l] += centred.lane[l] * by.lane[l];
    }
    dbeta[channel] = beta;
    dgamma[channel] = gamma;
}

// dx from the sums (2, parts, C) over all rows, `count` in each part; without sums the statistics did not depend on x
extern "C" __global__ void backward(
    const Pack* x, const Pack* dy, const Pack* mean, const Pack* inv_std, const Pack* gamma, const Pack* beta,
    const Pack* sums, Pack* dx, int m, int c, int height, REAL count, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x;
    if (channel >= c) return;
    long long part = blockIdx.z, own = part * c + channel;
    Channel of = channel_of(mean, inv_std, gamma, beta, own, channel);
    Pack plain = sums ? sums[own] : Pack{}, centred = sums ? sums[gridDim.z * c + own] : Pack{};
    EACH_LANE plain.lane[l] /= count, centred.lane[l] /= count;
    int stop = min(m, (int)(blockIdx.x + 1) * height);
    for (int r = blockIdx.x * height + threadIdx.y; r < stop; r += blockDim.y) {
        long long at = (part * m + r) * c + channel;
        dx[at] = slope_of(x[at], dy[at], of, plain, centred, slope);
    }
}

// backward_sums, store_grads (if there is room for them) and backward in one, for all parts one after the other
extern "C" __global__ void backward_at_once(
    const Pack* x, const Pack* dy, const Pack* mean, const Pack* inv_std, const Pack* gamma, const Pack* beta, Pack* dx,
    Pack* dgamma, Pack* dbeta, int parts, int m, int c, int add, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x, rows = channel < c ? m : 0;
    Pack plain_sum = {}, centred_sum = {};
    for (int k = 0; k < parts; k++) {
        long long start = (long long)k * m * c + channel;
        Pack plain = {}, centred = {};
        Channel of = {};
        if (rows) of = channel_of(mean, inv_std, gamma, beta, k * c + channel, channel);
        for (int r = threadIdx.y; r < rows; r += blockDim.y) {
            long long at = start + (long long)r * c;
            add_terms(plain, centred, x[at], dy[at], of, slope);
        }
        plain = sum_over_y(plain);
        centred = sum_over_y(centred);
        EACH_LANE plain_sum.lane[l] += plain.lane[l];
        EACH_LANE centred_sum.lane[l] += centred.lane[l] * of.inv_std.lane[l];
        EACH_LANE plain.lane[l] /= m, centred.lane[l] /= m;
        for (int r = threadIdx.y; r < rows; r += blockDim.y) {
            long long at = start + (long long)r * c;
            dx[at] = slope_of(x[at], dy[at], of, plain, centred, slope);
        }
    }
    if (threadIdx.y > 0 || channel >= c || !dgamma) return;
    Pack beta_before = add ? dbeta[channel] : Pack{}, gamma_before = add ? dgamma[channel] : Pack{};
    EACH_LANE plain_sum.lane[l] += beta_before.lane[l];
    EACH_LANE centred_sum.lane[l] += gamma_before.lane[l];
    dbeta[channel] = plain_sum;
    dgamma[channel] = centred_sum;
}
