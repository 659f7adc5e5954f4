// The columns of a convolution, gathered from an image (im2col) and scattered into one (col2im). All images are
// (N, H, W, C) in memory.
//
// The entries (j, c) of one row i of the kernel at one place are a run of kw·C numbers that lie side by side, in the
// columns and in the image: nothing has to be divided to know where the next of them is.

// columns[(n,p,q), (i,j,c)] = x̄[n, p·sh + i, q·sw + j, c]        x̄: x with zeros around it
//
// place = (n,p,q); an image has h rows of `row` = W·C packs; run = kw·C
extern "C" __global__ void gather(
    const Pack* x, Pack* columns, int places, int h, int row, int c, int kh, int run, int sh, int sw, int top, int left,
    int ho, int wo
) {
    int place = blockIdx.x * blockDim.y + threadIdx.y;
    if (place >= places) return;
    int line = place / wo, q = place % wo, n = line / ho, p = line % ho;
    const Pack* image = x + (long long)n * h * row;
    Pack* out = columns + (long long)place * kh * run;
    int first = (q * sw - left) * c;  // of the run, in a row of the image; negative in the margin
    for (int i = 0; i < kh; i++) {
        int u = p * sh + i - top;
        bool inside = 0 <= u && u < h;
        for (int t = threadIdx.x; t < run; t += blockDim.x) {
            int at = first + t;
            out[i * run + t] = inside && 0 <= at && at < row ? image[u * row + at] : Pack{};
        }
    }
}

// x[n,u,v,c] = f(b[c] + Σ columns[(n,p,q), (i,j,c)])     over all p·sh + i = u + top and q·sw + j = v + left
//
// f is leaky ReLU; with slope = 1, nothing. line = (n,u). Each number of x is one thread's, which looks for its terms.
extern "C" __global__ void scatter(
    const Pack* columns, const Pack* b, Pack* x, int lines, int h, int row, int c, int kh, int kw, int sh, int sw,
    int top, int left, int ho, int wo, REAL slope
) {
    int line = blockIdx.x * blockDim.y + threadIdx.y;
    if (line >= lines) return;
    int n = line / h, u = line % h + top;
    for (int t = blockIdx.y * blockDim.x + threadIdx.x; t < row; t += gridDim.y * blockDim.x) {
        int v = t / c + left, channel = t % c;
        Pack sum = b ? b[channel] : Pack{};
        for (int i = u % sh, p = u / sh; i < kh; i += sh, p--) {
            if (p < 0 || p >= ho) continue;
            for (int j = v % sw, q = v / sw; j < kw; j += sw, q--) {
                if (q < 0 || q >= wo) continue;
                long long place = ((long long)n * ho + p) * wo + q;
                Pack term = columns[place * (kh * kw * c) + (i * kw + j) * c + channel];
                EACH_LANE sum.lane[l] += term.lane[l];
            }
        }
        EACH_LANE sum.lane[l] = leaky(sum.lane[l], slope);
        x[(long long)line * row + t] = sum;
    }
}
