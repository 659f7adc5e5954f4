// Losses with their derivatives, in one block: what each logit adds to the value and to the gradient is divided by
// their number; see tinygan/losses.py, whose classes carry the names below. r, f: logits of real and generated samples;
// sizes are in numbers.

struct Term {
    REAL value, slope;
};

enum Loss { MINIMAX, NON_SATURATING, LEAST_SQUARES, WASSERSTEIN, HINGE };

// log(1 + e^s), and its derivative σ(s); no exponent is positive
__device__ inline Term softplus(REAL s) {
    REAL e = exp(-fabs(s));
    return {log1p(e) + (s > 0 ? s : s == s ? 0 : s), (s < 0 ? e : 1) / (1 + e)};
}

__device__ Term of_real(int loss, REAL r, REAL label) {
    switch (loss) {
        case LEAST_SQUARES: return {(r - label) * (r - label) / 2, r - label};
        case WASSERSTEIN: return {-r, -1};
        case HINGE: return r < 1 ? Term{1 - r, -1} : Term{r == r ? 0 : r, 0};
        default:
            Term below = softplus(-r);
            return {below.value + (1 - label) * r, (1 - label) - below.slope};
    }
}

__device__ Term of_fake(int loss, REAL f) {
    switch (loss) {
        case LEAST_SQUARES: return {f * f / 2, f};
        case WASSERSTEIN: return {f, 1};
        case HINGE: return f > -1 ? Term{1 + f, 1} : Term{f == f ? 0 : f, 0};
        default: return softplus(f);
    }
}

__device__ Term of_generator(int loss, REAL f) {
    Term term;
    switch (loss) {
        case MINIMAX: term = softplus(f); return {-term.value, -term.slope};
        case NON_SATURATING: term = softplus(-f); return {term.value, -term.slope};
        case LEAST_SQUARES: return {(f - 1) * (f - 1) / 2, f - 1};
        default: return {-f, -1};
    }
}

// The sum of a number of each thread over the block, halving it; thread 0 gets it.
__device__ REAL sum_over_block(REAL value) {
    __shared__ REAL shared[THREADS];
    shared[threadIdx.x] = value;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    return shared[threadIdx.x];
}

// L_D = mean over r + mean over f, and its derivatives
extern "C" __global__ void discriminator(
    const REAL* r, const REAL* f, REAL* value, REAL* d_real, REAL* d_fake, int real, int fake, int loss, REAL label
) {
    REAL sum = 0;
    for (int k = threadIdx.x; k < real; k += THREADS) {
        Term term = of_real(loss, r[k], label);
        sum += term.value / real;
        d_real[k] = term.slope / real;
    }
    for (int k = threadIdx.x; k < fake; k += THREADS) {
        Term term = of_fake(loss, f[k]);
        sum += term.value / fake;
        d_fake[k] = term.slope / fake;
    }
    sum = sum_over_block(sum);
    if (threadIdx.x == 0) *value = sum;
}

// L_G = mean over f, and its derivative
extern "C" __global__ void generator(const REAL* f, REAL* value, REAL* d_fake, int fake, int loss) {
    REAL sum = 0;
    for (int k = threadIdx.x; k < fake; k += THREADS) {
        Term term = of_generator(loss, f[k]);
        sum += term.value / fake;
        d_fake[k] = term.slope / fake;
    }
    sum = sum_over_block(sum);
    if (threadIdx.x == 0) *value = sum;
}

// L = mean softplus(b − a) over pairs, ∂L/∂b = σ(b − a) / n and ∂L/∂a = −∂L/∂b, each where there is room for it
extern "C" __global__ void pairs(const REAL* a, const REAL* b, REAL* value, REAL* d_a, REAL* d_b, int n) {
    REAL sum = 0;
    for (int k = threadIdx.x; k < n; k += THREADS) {
        Term term = softplus(b[k] - a[k]);
        sum += term.value / n;
        if (d_b) d_b[k] = term.slope / n;
        if (d_a) d_a[k] = -term.slope / n;
    }
    sum = sum_over_block(sum);
    if (threadIdx.x == 0) *value = sum;
}
