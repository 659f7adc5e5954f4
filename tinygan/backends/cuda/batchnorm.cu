// Batch normalisation of rows (batches·M, C), each batch with statistics of its own; see tinygan/layers/batchnorm.py.
// A block has the rows blockIdx.x·height and on of batch blockIdx.z, blockDim.y of them at a time, and blockDim.x packs
// of channels. Where one block has all M rows of its channels, the kernels ..._at_once do everything in one launch.

// n numbers with this mean and this sum of squares around it, one group for each lane
struct Moments {
    Pack mean, squares;
    REAL n;
};

// Two groups become one: what lies between their means belongs to the squares (Chan, Golub and LeVeque, 1979).
__device__ inline void merge(Moments& a, const Moments& b) {
    if (b.n == 0) return;
    REAL share = b.n / (a.n + b.n);
    EACH_LANE {
        REAL apart = b.mean.lane[l] - a.mean.lane[l];
        a.mean.lane[l] += apart * share;
        a.squares.lane[l] += b.squares.lane[l] + apart * apart * a.n * share;
    }
    a.n += b.n;
}

// The groups of all threads of a column of the block as one, halving their number; all of them get it.
__device__ inline Moments merge_over_y(Moments total) {
    __shared__ Moments shared[THREADS];
    int at = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();  // what was merged before may still be read
    shared[at] = total;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) merge(shared[at], shared[at + half * blockDim.x]);
    }
    __syncthreads();
    return shared[threadIdx.x];
}

// mean[batch,block,c] and squares[batch,block,c] = Σ (x − mean)² of a block's rows. Run twice: first over the rows of x,
// with squares_in = 0 and each = 1; then in one block over what the blocks gave, each of which had seen `each` rows,
// but for the last one. There are m rows of x in a batch.
extern "C" __global__ void moments(
    const Pack* x, const Pack* squares_in, Pack* mean, Pack* squares, int m, int each, int c, int height
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x, rows = (m + each - 1) / each;
    int start = blockIdx.x * height, stop = channel < c ? min(rows, start + height) : 0;
    Moments total = {};
    for (int r = start + threadIdx.y; r < stop; r += blockDim.y) {
        long long at = ((long long)blockIdx.z * rows + r) * c + channel;
        merge(total, {x[at], squares_in ? squares_in[at] : Pack{}, (REAL)min(each, m - r * each)});
    }
    total = merge_over_y(total);
    if (threadIdx.y > 0 || channel >= c) return;
    long long out = ((long long)blockIdx.z * gridDim.x + blockIdx.x) * c + channel;
    mean[out] = total.mean;
    squares[out] = total.squares;
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
// f: leaky ReLU; with slope = 1, nothing. If there are running statistics, they are moved by each batch in turn.
extern "C" __global__ void normalise(
    const Pack* x, const Pack* mean, const Pack* squares, const Pack* gamma, const Pack* beta, Pack* y, Pack* inv_std,
    Pack* running_mean, Pack* running_var, int m, int c, int height, REAL count, REAL eps, REAL momentum, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x;
    if (channel >= c) return;
    long long batch = blockIdx.z, index = batch * c + channel;
    Pack middle = mean[index], scale = squares[index], shift = beta[channel], factor = gamma[channel];
    EACH_LANE scale.lane[l] = 1 / sqrt(scale.lane[l] / count + eps);
    if (blockIdx.x == 0 && threadIdx.y == 0) {
        inv_std[index] = scale;
        if (batch == 0 && running_mean)
            for (int k = 0; k < gridDim.z; k++) {
                int at = k * c + channel;
                move(running_mean[channel], running_var[channel], mean[at], squares[at], count, momentum);
            }
    }
    EACH_LANE scale.lane[l] *= factor.lane[l];
    int stop = min(m, (int)(blockIdx.x + 1) * height);
    for (int r = blockIdx.x * height + threadIdx.y; r < stop; r += blockDim.y) {
        long long at = (batch * m + r) * c + channel;
        Pack pack = x[at];
        EACH_LANE pack.lane[l] = leaky(affine(pack.lane[l], middle.lane[l], scale.lane[l], shift.lane[l]), slope);
        y[at] = pack;
    }
}

// moments and normalise in one, for all batches one after the other
extern "C" __global__ void forward_at_once(
    const Pack* x, const Pack* gamma, const Pack* beta, Pack* y, Pack* mean, Pack* inv_std, Pack* running_mean,
    Pack* running_var, int batches, int m, int c, REAL eps, REAL momentum, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x, rows = channel < c ? m : 0;
    bool writes = threadIdx.y == 0 && channel < c;
    for (int k = 0; k < batches; k++) {
        const Pack* in = x + (long long)k * m * c + channel;
        Pack* out = y + (long long)k * m * c + channel;
        Moments total = {};
        for (int r = threadIdx.y; r < rows; r += blockDim.y) merge(total, {in[(long long)r * c], {}, 1});
        total = merge_over_y(total);
        Pack scale, shift, factor;
        EACH_LANE scale.lane[l] = 1 / sqrt(total.squares.lane[l] / m + eps);
        if (writes) {
            mean[k * c + channel] = total.mean;
            inv_std[k * c + channel] = scale;
            move(running_mean[channel], running_var[channel], total.mean, total.squares, m, momentum);
        }
        if (rows) shift = beta[channel], factor = gamma[channel];
        EACH_LANE scale.lane[l] *= factor.lane[l];
        for (int r = threadIdx.y; r < rows; r += blockDim.y) {
            Pack pack = in[(long long)r * c];
            EACH_LANE pack.lane[l] = leaky(affine(pack.lane[l], total.mean.lane[l], scale.lane[l], shift.lane[l]), slope);
            out[(long long)r * c] = pack;
        }
    }
}

// What a channel of a batch needs on its way back
struct Channel {
    Pack mean, inv_std, scale, shift;  // scale = gamma · inv_std
};

__device__ inline Channel channel_of(
    const Pack* mean, const Pack* inv_std, const Pack* gamma, const Pack* beta, long long index, int channel
) {
    Channel result = {mean[index], inv_std[index], gamma[channel], beta[channel]};
    EACH_LANE result.scale.lane[l] *= result.inv_std.lane[l];
    return result;
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

// Over the rows of a block, sums[0,batch,block,c] = Σ_m d[m,c] and sums[1,batch,block,c] = Σ_m d[m,c] (x[m,c] − mean[c])
extern "C" __global__ void backward_sums(
    const Pack* x, const Pack* dy, const Pack* mean, const Pack* inv_std, const Pack* gamma, const Pack* beta,
    Pack* sums, int m, int c, int height, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x, stop = 0;
    long long batch = blockIdx.z;
    Pack plain = {}, centred = {};
    Channel of;
    if (channel < c) {
        of = channel_of(mean, inv_std, gamma, beta, batch * c + channel, channel);
        stop = min(m, (int)(blockIdx.x + 1) * height);
    }
    for (int r = blockIdx.x * height + threadIdx.y; r < stop; r += blockDim.y) {
        long long at = (batch * m + r) * c + channel;
        add_terms(plain, centred, x[at], dy[at], of, slope);
    }
    plain = sum_over_y(plain);
    centred = sum_over_y(centred);
    if (threadIdx.y > 0 || channel >= c) return;
    long long index = (batch * gridDim.x + blockIdx.x) * c + channel;
    sums[index] = plain;
    sums[(long long)gridDim.z * gridDim.x * c + index] = centred;
}

// dbeta[c] = Σ_m d[m,c]      dgamma[c] = Σ_m d[m,c] x̂[m,c]      from the sums (2, batches, C), over all batches
//
// add: whether they are added to what is there
extern "C" __global__ void store_grads(
    const Pack* sums, const Pack* inv_std, Pack* dgamma, Pack* dbeta, int batches, int c, int add
) {
    int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= c) return;
    Pack beta = add ? dbeta[channel] : Pack{}, gamma = add ? dgamma[channel] : Pack{};
    for (int k = 0; k < batches; k++) {
        Pack plain = sums[k * c + channel], centred = sums[(batches + k) * c + channel], by = inv_std[k * c + channel];
        EACH_LANE beta.lane[l] += plain.lane[l];
        EACH_LANE gamma.lane[l] += centred.lane[l] * by.lane[l];
    }
    dbeta[channel] = beta;
    dgamma[channel] = gamma;
}

// dx from the sums (2, batches, C) over all rows, `count` in each batch; without sums the statistics did not depend on x
extern "C" __global__ void backward(
    const Pack* x, const Pack* dy, const Pack* mean, const Pack* inv_std, const Pack* gamma, const Pack* beta,
    const Pack* sums, Pack* dx, int m, int c, int height, REAL count, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x;
    if (channel >= c) return;
    long long batch = blockIdx.z, index = batch * c + channel;
    Channel of = channel_of(mean, inv_std, gamma, beta, index, channel);
    Pack plain = sums ? sums[index] : Pack{}, centred = sums ? sums[gridDim.z * c + index] : Pack{};
    EACH_LANE plain.lane[l] /= count, centred.lane[l] /= count;
    int stop = min(m, (int)(blockIdx.x + 1) * height);
    for (int r = blockIdx.x * height + threadIdx.y; r < stop; r += blockDim.y) {
        long long at = (batch * m + r) * c + channel;
        dx[at] = slope_of(x[at], dy[at], of, plain, centred, slope);
    }
}

// backward_sums, store_grads (if there is room for them) and backward in one, for all batches one after the other
extern "C" __global__ void backward_at_once(
    const Pack* x, const Pack* dy, const Pack* mean, const Pack* inv_std, const Pack* gamma, const Pack* beta, Pack* dx,
    Pack* dgamma, Pack* dbeta, int batches, int m, int c, int add, REAL slope
) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x, rows = channel < c ? m : 0;
    Pack plain_sum = {}, centred_sum = {};
    for (int k = 0; k < batches; k++) {
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
