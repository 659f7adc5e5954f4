// Number by number: n packs, one for each thread.

#define HERE                                                                \
    long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; \
    if (at >= n) return;

// y = max(x, slope·x)
extern "C" __global__ void leaky_relu(const Pack* x, Pack* y, long long n, REAL slope) {
    HERE
    Pack here = x[at];
    EACH_LANE here.lane[l] = leaky(here.lane[l], slope);
    y[at] = here;
}

// dx = dy · (1 if y > 0 else slope)
extern "C" __global__ void leaky_relu_backward(const Pack* y, const Pack* dy, Pack* dx, long long n, REAL slope) {
    HERE
    Pack here = dy[at], sign = y[at];
    EACH_LANE here.lane[l] = leaky_slope(sign.lane[l], here.lane[l], slope);
    dx[at] = here;
}

// dx = dy · (1 − y²)        y = tanh(x)
extern "C" __global__ void tanh_backward(const Pack* y, const Pack* dy, Pack* dx, long long n) {
    HERE
    Pack here = dy[at], out = y[at];
    EACH_LANE here.lane[l] *= 1 - out.lane[l] * out.lane[l];
    dx[at] = here;
}

// y = 1 / (1 + e^−x), as e^min(x,0) / (1 + e^−|x|)
extern "C" __global__ void sigmoid(const Pack* x, Pack* y, long long n) {
    HERE
    Pack here = x[at];
    EACH_LANE {
        REAL a = here.lane[l], e = exp(-fabs(a));
        here.lane[l] = (a < 0 ? e : a == a ? 1 : a) / (1 + e);
    }
    y[at] = here;
}

// dx = dy · y · (1 − y)        y = σ(x)
extern "C" __global__ void sigmoid_backward(const Pack* y, const Pack* dy, Pack* dx, long long n) {
    HERE
    Pack here = dy[at], out = y[at];
    EACH_LANE here.lane[l] *= out.lane[l] * (1 - out.lane[l]);
    dx[at] = here;
}

// M ← β₁ M + g      V ← β₂ V + g²      θ ← θ − a · M / (√V + e)     a = *rate, e = *least; with β₁ = 0, M is g and is not kept
extern "C" __global__ void adam(
    Pack* theta, const Pack* g, Pack* M, Pack* V, const REAL* rate, const REAL* least, long long n, REAL beta1,
    REAL beta2
) {
    HERE
    REAL a = *rate, e = *least;
    Pack slope = g[at], mean = slope, squares = V[at], weights = theta[at];
    if (beta1 > 0) {
        mean = M[at];
        EACH_LANE mean.lane[l] = beta1 * mean.lane[l] + slope.lane[l];
        M[at] = mean;
    }
    EACH_LANE {
        squares.lane[l] = beta2 * squares.lane[l] + slope.lane[l] * slope.lane[l];
        weights.lane[l] -= a * (mean.lane[l] / (sqrt(squares.lane[l]) + e));
    }
    V[at] = squares;
    theta[at] = weights;
}

// average ← average + rate · (new − average)        the rate is in the memory of the device
extern "C" __global__ void average(Pack* average, const Pack* latest, const REAL* rate, long long n) {
    HERE
    Pack mean = average[at], here = latest[at];
    EACH_LANE mean.lane[l] += *rate * (here.lane[l] - mean.lane[l]);
    average[at] = mean;
}

// out[b,u,v,c] = (images[i,u,v,c] − 127.5) / half + middle, i = indices[b], in `line` = (b,u); an index of `count` or
// more stands for the mirror image of i − count. Sizes in numbers; there are h lines of w pixels in an image.
extern "C" __global__ void minibatch(
    const unsigned char* images, const long long* indices, REAL* out, long long count, int lines, int h, int w, int c,
    REAL half, REAL middle
) {
    int line = blockIdx.x * blockDim.y + threadIdx.y;
    if (line >= lines) return;
    long long index = indices[line / h];
    bool mirrored = index >= count;
    const unsigned char* in = images + ((index - (mirrored ? count : 0)) * h + line % h) * w * c;
    for (int t = blockIdx.y * blockDim.x + threadIdx.x; t < w * c; t += gridDim.y * blockDim.x) {
        int from = mirrored ? (w - 1 - t / c) * c + t % c : t;
        out[(long long)line * w * c + t] = ((REAL)in[from] - (REAL)127.5) / half + middle;
    }
}
