/* A libcuda.so.1 without a GPU, for the real bindings: memory is the host's, kernels are only written down.

   Each function that the run time calls is here with the types of NVIDIA's header, under the name by which the bindings ask for
   it, and refuses handles that it did not give. What is launched goes to stderr, a line each. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef uint64_t Pointer;

enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, INVALID_HANDLE = 400, NOT_FOUND = 500 };

static char context, stream, event, module, function, graph, executable;
static uintptr_t nodes = 0x1000;

#define CHECK(handle, what) if ((void *)(handle) != (void *)&(what)) return INVALID_HANDLE

typedef struct {
    void *function;
    unsigned grid[3], block[3], shared;
    void **parameters;
    void **extra;
    void *kernel;
    void *context;
} KernelNode;

static Result init(unsigned flags) { return flags; }
static Result driver_version(int *version) { *version = 13000; return OK; }
static Result device_count(int *count) { *count = 1; return OK; }
static Result device_get(int *device, int ordinal) { *device = ordinal; return OK; }
static Result device_name(char *name, int length, int device) { strncpy(name, "a stub", length); return OK; }
static Result device_attribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : 0; return OK; }
static Result retain(void **made, int device) { *made = &context; return OK; }
static Result set_current(void *given) { CHECK(given, context); return OK; }
static Result stream_create(void **made, unsigned flags) { *made = &stream; return flags; }
static Result stream_synchronize(void *given) { CHECK(given, stream); return OK; }
static Result memory_info(size_t *free, size_t *total) { *free = 1000; *total = 2000; return OK; }

static Result allocate(Pointer *made, size_t size) {
    void *memory = NULL;
    if (size > (1u << 28) || posix_memalign(&memory, 256, size)) return OUT_OF_MEMORY;
    *made = (Pointer)memory;
    return OK;
}
static Result release(Pointer memory) { free((void *)memory); return OK; }
static Result host_allocate(void **made, size_t size, unsigned flags) { *made = malloc(size); return flags; }
static Result host_release(void *memory) { free(memory); return OK; }

static Result to_device(Pointer to, const void *from, size_t size, void *given) {
    CHECK(given, stream);
    memcpy((void *)to, from, size);
    return OK;
}
static Result to_host(void *to, Pointer from, size_t size, void *given) {
    CHECK(given, stream);
    memcpy(to, (void *)from, size);
    return OK;
}
static Result on_device(Pointer to, Pointer from, size_t size, void *given) {
    return to_host((void *)to, from, size, given);
}
static Result set_bytes(Pointer to, unsigned char value, size_t size, void *given) {
    CHECK(given, stream);
    memset((void *)to, value, size);
    return OK;
}

static Result event_create(void **made, unsigned flags) { *made = &event; return flags == 2 ? OK : INVALID; }
static Result event_record(void *given, void *in) { CHECK(given, event); CHECK(in, stream); return OK; }
static Result event_check(void *given) { CHECK(given, event); return OK; }

static Result load(void **made, const void *image) {
    *made = &module;
    return memcmp(image, "\177ELF", 4) ? INVALID_IMAGE : OK;
}
static Result find(void **made, void *from, const char *name) {
    CHECK(from, module);
    *made = &function;
    fprintf(stderr, "function %s\n", name);
    return OK;
}
static Result launch(void *given, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                     void *in, void **parameters, void **extra) {
    CHECK(given, function);
    CHECK(in, stream);
    if (gy != 1 || gz != 1 || by != 1 || bz != 1 || shared || extra) return INVALID;
    fprintf(stderr, "launch %u x %u: %ld\n", gx, bx, *(long *)parameters[2]);
    return OK;
}

static Result graph_create(void **made, unsigned flags) { *made = &graph; return flags; }
static Result add_kernel(void **made, void *to, void *const *before, size_t count, const KernelNode *node) {
    CHECK(to, graph);
    CHECK(node->function, function);
    if (count > 1 || (count && before[0] != (void *)nodes) || node->extra || node->shared) return INVALID;
    *made = (void *)++nodes;
    fprintf(stderr, "node %u x %u after %zu: %ld\n", node->grid[0], node->block[0], count, *(long *)node->parameters[2]);
    return OK;
}
static Result add_copy(void **made, void *to, void *const *before, size_t count, const void *copy, void *in) {
    CHECK(to, graph);
    CHECK(in, context);
    *made = (void *)++nodes;
    fprintf(stderr, "copy node after %zu\n", count);
    return OK;
}
static Result instantiate(void **made, void *of, unsigned long long flags) { CHECK(of, graph); *made = &executable; return flags; }
static Result set_kernel(void *in, void *which, const KernelNode *node) {
    CHECK(in, executable);
    CHECK(node->function, function);
    fprintf(stderr, "update node\n");
    return OK;
}
static Result set_copy(void *in, void *which, const void *copy, void *current) {
    CHECK(in, executable);
    CHECK(current, context);
    fprintf(stderr, "update copy\n");
    return OK;
}
static Result launch_graph(void *given, void *in) {
    CHECK(given, executable);
    CHECK(in, stream);
    fprintf(stderr, "graph\n");
    return OK;
}
static Result destroy_executable(void *given) { CHECK(given, executable); return OK; }
static Result destroy_graph(void *given) { CHECK(given, graph); return OK; }

Result cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status);

static const struct { const char *name; void *function; } table[] = {
    {"cuGetProcAddress", cuGetProcAddress_v2},
    {"cuInit", init}, {"cuDriverGetVersion", driver_version}, {"cuDeviceGetCount", device_count}, {"cuDeviceGet", device_get},
    {"cuDeviceGetName", device_name}, {"cuDeviceGetAttribute", device_attribute}, {"cuDevicePrimaryCtxRetain", retain},
    {"cuCtxSetCurrent", set_current}, {"cuStreamCreate", stream_create}, {"cuStreamSynchronize", stream_synchronize},
    {"cuMemGetInfo", memory_info}, {"cuMemAlloc", allocate}, {"cuMemFree", release}, {"cuMemHostAlloc", host_allocate},
    {"cuMemFreeHost", host_release}, {"cuMemcpyHtoDAsync", to_device}, {"cuMemcpyDtoHAsync", to_host},
    {"cuMemcpyDtoDAsync", on_device}, {"cuMemsetD8Async", set_bytes}, {"cuEventCreate", event_create},
    {"cuEventRecord", event_record}, {"cuEventQuery", event_check}, {"cuEventSynchronize", event_check},
    {"cuModuleLoadData", load}, {"cuModuleGetFunction", find}, {"cuLaunchKernel", launch},
    {"cuGraphCreate", graph_create}, {"cuGraphAddKernelNode", add_kernel}, {"cuGraphAddMemcpyNode", add_copy},
    {"cuGraphInstantiate", instantiate}, {"cuGraphInstantiateWithFlags", instantiate},
    {"cuGraphExecKernelNodeSetParams", set_kernel}, {"cuGraphExecMemcpyNodeSetParams", set_copy},
    {"cuGraphLaunch", launch_graph}, {"cuGraphExecDestroy", destroy_executable}, {"cuGraphDestroy", destroy_graph},
};

Result cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    *found = NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name)) *found = table[i].function;
    if (status) *status = *found == NULL;
    return *found == NULL ? NOT_FOUND : OK;
}

Result cuGetProcAddress(const char *name, void **found, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, found, version, flags, NULL);
}
