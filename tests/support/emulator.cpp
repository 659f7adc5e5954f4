// CUDA for a C++ compiler, slowly and strictly: blocks run one after the other, the threads of a block as coroutines
// that change places at __syncthreads. Compiled once; kernels see emulator.h.
//
// Threads and blocks run in an order that may be chosen, shared memory holds NaN before a block starts, and a barrier
// that some threads of a block do not reach is an error: what a missing __syncthreads breaks on a GPU, it breaks here.

#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <vector>

struct Index {
    unsigned x, y, z;
};
Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

const size_t STACK = 1 << 16;

struct Thread {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(STACK);
    Index index;
    bool done;
};

std::vector<Thread> threads;
void (*of_thread)(void**);
void** arguments;
char* memory;
size_t bytes;
ucontext_t scheduler;
Thread* running = nullptr;  // as a coroutine
bool diverged;

void kernel() { of_thread(arguments); }

void run_thread() {
    kernel();
    running->done = true;
    swapcontext(&running->context, &scheduler);
}

void start(Thread& thread) {
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = STACK;
    thread.context.uc_link = nullptr;
    thread.done = false;
    makecontext(&thread.context, run_thread, 0);
}

void resume(Thread& thread) {  // up to its next barrier, or its end
    running = &thread;
    threadIdx = thread.index;
    swapcontext(&scheduler, &thread.context);
    running = nullptr;
}

// 0: as they come; 1: the last first; else: mixed
std::vector<unsigned> in_order(unsigned n, unsigned order) {
    std::vector<unsigned> numbers(n);
    for (unsigned k = 0; k < n; k++) numbers[k] = order == 1 ? n - 1 - k : k;
    unsigned state = order;
    for (unsigned k = n; order > 1 && k > 1; k--) {
        state = state * 1664525u + 1013904223u;
        std::swap(numbers[k - 1], numbers[(state >> 8) % k]);
    }
    return numbers;
}

Index unravel(unsigned k, Index size) { return {k % size.x, k / size.x % size.y, k / size.x / size.y}; }

void run_block(unsigned order) {
    unsigned n = blockDim.x * blockDim.y * blockDim.z;
    if (threads.size() < n) threads.resize(n);
    if (bytes) memset(memory, 0xff, bytes);
    auto numbers = in_order(n, order);
    for (unsigned k : numbers) threads[k].index = unravel(k, blockDim);
    start(threads[numbers[0]]);
    resume(threads[numbers[0]]);
    if (threads[numbers[0]].done) {  // no barrier; the others must not have one either, and need not be coroutines
        for (unsigned k = 1; k < n; k++) threadIdx = threads[numbers[k]].index, kernel();
        return;
    }
    for (unsigned k = 1; k < n; k++) start(threads[numbers[k]]), resume(threads[numbers[k]]);
    for (;;) {
        unsigned done = std::count_if(numbers.begin(), numbers.end(), [](unsigned k) { return threads[k].done; });
        diverged |= done > 0 && done < n;
        if (done == n || diverged) return;
        for (unsigned k : numbers) resume(threads[k]);
    }
}

}  // namespace emulator

void __syncthreads() {
    if (emulator::running)
        swapcontext(&emulator::running->context, &emulator::scheduler);
    else
        emulator::diverged = true;
}

extern "C" bool emulate(
    void (*thread)(void**), void** arguments, char* memory, unsigned long bytes, const unsigned* grid,
    const unsigned* block, unsigned order
) {
    emulator::of_thread = thread, emulator::arguments = arguments, emulator::memory = memory, emulator::bytes = bytes;
    emulator::diverged = false;
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block[0], block[1], block[2]};
    for (unsigned k : emulator::in_order(grid[0] * grid[1] * grid[2], order)) {
        blockIdx = emulator::unravel(k, gridDim);
        emulator::run_block(order);
        if (emulator::diverged) return false;
    }
    return true;
}
