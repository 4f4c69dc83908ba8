/* Loads and stores of all forms, of memory and of registers that hw/_cpu/access.c has this program do: both leave the same
 * in the processor's registers and behind the address, by as many accesses as the instruction makes. What is none is told
 * as that. Run by tests/unit/test_register_access.py, here and in an emulator. */
#include "fault.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BYTES = 128, AT = 64, PAGE = 4096 };

static uint8_t device[BYTES], *page; /* the page is never there, and the one before it is memory */
__attribute__((used)) static uint8_t pages[2 * PAGE] __attribute__((aligned(PAGE)));
static unsigned accesses;
static sigjmp_buf unknown;

static void on_fault(int Py_UNUSED(number), siginfo_t *info, void *interrupted)
{
    ucontext_t *context = interrupted;
    struct access access = {.address = (uintptr_t)info->si_addr};
    fault_read_context(context, &access);
    const uint64_t wanted = access_wanted(&access, context), width = wanted >> SEL4PY_ACCESS_WIDTH_SHIFT;
    if (!width)
        siglongjmp(unknown, 1);
    const uint64_t offset = access.address - (uintptr_t)page;
    if (offset > BYTES - width)
        abort();
    uint64_t value = 0;
    if (access.kind & SEL4PY_FAULT_WRITE)
        memcpy(device + offset, &wanted, width);
    else
        memcpy(&value, device + offset, width);
    accesses++;
    if (!access_done(&access, context, value))
        abort();
}

/* What a form leaves: the register that it loads, or stores, and one that it may step. */
struct left {
    uint64_t value, base;
};

typedef struct left form(uint8_t *at, uint64_t value);

#define FORM(name, ...)                                                                                                \
    static struct left name(uint8_t *at, uint64_t value)                                                               \
    {                                                                                                                  \
        __asm__ volatile(__VA_ARGS__);                                                                                 \
        return (struct left){value, (uint64_t)(uintptr_t)at};                                                          \
    }

#if defined(__x86_64__)

/* rdi or another register points to AT, rax is what is loaded or stored. */
#define PLAIN(name, text) FORM(name, text : "+a"(value), "+D"(at) : : "memory", "r8", "r12", "r13", "rcx", "rbx", "cc")

PLAIN(load8, "mov (%%rdi), %%al")
PLAIN(load8_second, "mov (%%rdi), %%ah")
PLAIN(load8_high, "mov %%rax, %%r8\n mov (%%rdi), %%r8b\n mov %%r8, %%rax")
PLAIN(load8_sil, "mov %%rax, %%rcx\n xchg %%rsi, %%rcx\n mov (%%rdi), %%sil\n xchg %%rsi, %%rcx\n mov %%rcx, %%rax")
PLAIN(load16, "mov (%%rdi), %%ax")
PLAIN(load32, "mov (%%rdi), %%eax")
PLAIN(load32_high, "mov (%%rdi), %%r8d\n mov %%r8, %%rax")
PLAIN(load32_near, "mov -4(%%rdi), %%eax")
PLAIN(load32_far, "sub $0x400, %%rdi\n mov 0x408(%%rdi), %%eax\n add $0x400, %%rdi")
PLAIN(load32_indexed, "mov $2, %%ecx\n mov 8(%%rdi,%%rcx,4), %%eax")
PLAIN(load32_index_alone, "mov %%rdi, %%rcx\n shr $2, %%rcx\n mov 0(,%%rcx,4), %%eax")
PLAIN(load32_r12, "mov %%rdi, %%r12\n mov (%%r12), %%eax")
PLAIN(load32_r13, "mov %%rdi, %%r13\n mov (%%r13), %%eax")
PLAIN(load32_r13_indexed, "mov %%rdi, %%r13\n mov $1, %%ecx\n mov (%%r13,%%rcx,4), %%eax")
PLAIN(load32_r12_index, "mov $3, %%r12d\n mov -8(%%rdi,%%r12,2), %%eax")
PLAIN(load32_back, "mov $-5, %%rcx\n mov (%%rdi,%%rcx,4), %%eax")
PLAIN(load32_stack, "mov %%rsp, %%rcx\n mov %%rdi, %%rsp\n mov (%%rsp), %%eax\n mov %%rcx, %%rsp")
PLAIN(load32_itself, "mov %%rdi, %%rax\n mov 4(%%rax), %%eax")
PLAIN(load32_segment, "mov %%ds:(%%rdi), %%eax")
PLAIN(zero8_32, "movzbl (%%rdi), %%eax")
PLAIN(zero8_16, "movzbw (%%rdi), %%ax")
PLAIN(zero8_64, "movzbq (%%rdi), %%rax")
PLAIN(zero16_32, "movzwl (%%rdi), %%eax")
PLAIN(zero16_64, "movzwq 2(%%rdi), %%rax")
PLAIN(sign8_16, "movsbw (%%rdi), %%ax")
PLAIN(sign8_32, "movsbl (%%rdi), %%eax")
PLAIN(sign8_64, "movsbq (%%rdi), %%rax")
PLAIN(sign16_32, "movswl (%%rdi), %%eax")
PLAIN(sign16_64, "movswq (%%rdi), %%rax")
PLAIN(sign32_64, "movslq (%%rdi), %%rax")
static struct left load32_relative(uint8_t *at, uint64_t value)
{
    if (at == page + AT)
        __asm__ volatile("mov pages + 4096 + 64(%%rip), %%eax" : "=a"(value) : : "memory");
    else
        __asm__ volatile("mov (%1), %%eax" : "=a"(value) : "r"(at) : "memory");
    return (struct left){value, (uint64_t)(uintptr_t)at};
}

PLAIN(store8, "mov %%al, (%%rdi)")
PLAIN(store8_second, "mov %%ah, (%%rdi)")
PLAIN(store8_high, "mov %%rax, %%r8\n mov %%r8b, 3(%%rdi)")
PLAIN(store8_sil, "xchg %%rsi, %%rax\n mov %%sil, (%%rdi)\n xchg %%rsi, %%rax")
PLAIN(store16, "mov %%ax, (%%rdi)")
PLAIN(store16_high, "mov %%rax, %%r8\n mov %%r8w, 0x10(%%rdi)")
PLAIN(store32, "mov %%eax, (%%rdi)")
PLAIN(store32_high, "mov %%rax, %%r8\n mov %%r8d, -0x10(%%rdi)")
PLAIN(store8_number, "movb $0x91, 1(%%rdi)")
PLAIN(store16_number, "movw $0x9182, (%%rdi)")
PLAIN(store32_number, "movl $0x91827364, 0x18(%%rdi)")
PLAIN(store32_number_indexed, "mov $3, %%ecx\n movl $0x11827364, 4(%%rdi,%%rcx,8)")

#define FORMS                                                                                                          \
    X(load8) X(load8_second) X(load8_high) X(load8_sil) X(load16) X(load32) X(load32_high) X(load32_near)              \
    X(load32_far) X(load32_indexed) X(load32_index_alone) X(load32_r12) X(load32_r13) X(load32_r13_indexed)            \
    X(load32_r12_index) X(load32_back) X(load32_stack) X(load32_itself) X(load32_relative) X(load32_segment)           \
    X(zero8_32) X(zero8_16) X(zero8_64) X(zero16_32) X(zero16_64) X(sign8_16) X(sign8_32) X(sign8_64) X(sign16_32)     \
    X(sign16_64) X(sign32_64) X(store8) X(store8_second) X(store8_high) X(store8_sil) X(store16) X(store16_high)       \
    X(store32) X(store32_high) X(store8_number) X(store16_number) X(store32_number) X(store32_number_indexed)

PLAIN(load64, "mov (%%rdi), %%rax")
PLAIN(store64, "mov %%rax, (%%rdi)")
PLAIN(store64_number, "movq $5, (%%rdi)")
PLAIN(adds, "add %%eax, (%%rdi)")
PLAIN(compares, "cmpl $0, (%%rdi)")
PLAIN(exchanges, "xchg %%eax, (%%rdi)")
PLAIN(loads_vector, "movdqu (%%rdi), %%xmm0")
PLAIN(copies, "mov %%rsi, %%r8\n mov %%rdi, %%rsi\n mov %%rsp, %%rdi\n sub $64, %%rdi\n mov $4, %%ecx\n rep movsb\n"
              "mov %%r8, %%rsi")
PLAIN(calls, "jmp *%%rdi")
PLAIN(loads_thread_local, "mov %%rdi, %%rcx\n sub %%fs:0, %%rcx\n mov %%fs:(%%rcx), %%eax")

/* What begins in the memory before a register, so that the fault is at the register's own address. */
#define ACROSS                                                                                                         \
    X(load16, -1) X(load32, -2) X(load32_near, 2) X(load32_far, -9) X(load32_indexed, -18) X(load32_r13_indexed, -6)   \
    X(sign16_64, -1) X(store16, -1) X(store32, -3) X(store32_number, -0x1a)

#define OTHERS                                                                                                         \
    X(load64) X(store64) X(store64_number) X(adds) X(compares) X(exchanges) X(loads_vector) X(copies) X(calls)        \
    X(loads_thread_local)

#elif defined(__aarch64__)

#define PLAIN(name, text) FORM(name, text : "+r"(value), "+r"(at) : : "memory", "x9", "x10")

PLAIN(load8, "ldrb %w0, [%1]")
PLAIN(load16, "ldrh %w0, [%1]")
PLAIN(load32, "ldr %w0, [%1]")
PLAIN(load32_offset, "ldr %w0, [%1, #32]")
PLAIN(load32_near, "ldur %w0, [%1, #-4]")
PLAIN(load32_indexed, "mov x9, #3\n ldr %w0, [%1, x9, lsl #2]")
PLAIN(load32_extended, "mov w9, #-4\n ldr %w0, [%1, w9, sxtw]")
PLAIN(load32_post, "ldr %w0, [%1], #8")
PLAIN(load32_post_back, "ldr %w0, [%1], #-16")
PLAIN(load32_pre, "ldr %w0, [%1, #-8]!")
PLAIN(load32_nowhere, "ldr wzr, [%1]")
PLAIN(load32_stack, "mov x10, sp\n mov sp, %1\n ldr %w0, [sp]\n mov sp, x10")
PLAIN(load32_stack_post, "mov x10, sp\n and sp, %1, #-16\n ldr %w0, [sp], #16\n mov x9, sp\n mov sp, x10\n mov %1, x9")
PLAIN(sign8_32, "ldrsb %w0, [%1]")
PLAIN(sign8_64, "ldrsb %0, [%1]")
PLAIN(sign16_32, "ldrsh %w0, [%1]")
PLAIN(sign16_64, "ldrsh %0, [%1]")
PLAIN(sign32_64, "ldrsw %0, [%1]")
PLAIN(store8, "strb %w0, [%1, #3]")
PLAIN(store16, "strh %w0, [%1, #2]")
PLAIN(store32, "str %w0, [%1]")
PLAIN(store32_near, "stur %w0, [%1, #-16]")
PLAIN(store32_post, "str %w0, [%1], #4")
PLAIN(store32_pre, "str %w0, [%1, #12]!")
PLAIN(store32_zero, "str wzr, [%1]")
PLAIN(store32_indexed, "mov x9, #5\n str %w0, [%1, x9, lsl #2]")

#define FORMS                                                                                                          \
    X(load8) X(load16) X(load32) X(load32_offset) X(load32_near) X(load32_indexed) X(load32_extended) X(load32_post)  \
    X(load32_post_back) X(load32_pre) X(load32_nowhere) X(load32_stack) X(load32_stack_post) X(sign8_32) X(sign8_64)  \
    X(sign16_32) X(sign16_64) X(sign32_64) X(store8) X(store16) X(store32) X(store32_near) X(store32_post)            \
    X(store32_pre) X(store32_zero) X(store32_indexed)

PLAIN(load64, "ldr %0, [%1]")
PLAIN(store64, "str %0, [%1]")
PLAIN(loads_pair, "ldp w9, w10, [%1]")
PLAIN(stores_pair, "stp w9, w10, [%1]")
PLAIN(atomic, ".arch_extension lse\n ldadd w9, w10, [%1]")
PLAIN(exclusive, "ldxr %w0, [%1]")
PLAIN(loads_vector, "ldr q0, [%1]")
PLAIN(loads_float, "ldr s0, [%1]")
PLAIN(calls, "br %1")

#define ACROSS                                                                                                         \
    X(load16, -1) X(load32, -2) X(load32_offset, -34) X(load32_near, 2) X(load32_indexed, -14) X(load32_extended, 2)   \
    X(load32_post, -2) X(load32_pre, 6) X(store16, -3) X(store32, -2) X(store32_indexed, -22)

#define OTHERS                                                                                                         \
    X(load64) X(store64) X(loads_pair) X(stores_pair) X(atomic) X(exclusive) X(loads_vector) X(loads_float)      \
    X(calls)

#endif

static void fill(uint8_t *bytes, uint64_t seed)
{
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(seed * 37 + i * 151 + (i * seed >> 3));
}

static void check(form *carry_out, const char *name, uint64_t seed)
{
    static uint8_t memory[BYTES] __attribute__((aligned(64)));
    const uint64_t value = 0x8877665544332211u * (seed | 1);
    fill(memory, seed);
    fill(device, seed);
    const struct left wanted = carry_out(memory + AT, value);
    accesses = 0;
    const struct left found = carry_out(page + AT, value);
    if (found.value == wanted.value && found.base - (uintptr_t)page == wanted.base - (uintptr_t)memory && accesses == 1 &&
        !memcmp(memory, device, BYTES))
        return;
    printf("%s leaves %llx and %+lld, by %u accesses; of memory %llx and %+lld%s\n", name, (unsigned long long)found.value,
           (long long)(found.base - (uintptr_t)page - AT), accesses, (unsigned long long)wanted.value,
           (long long)(wanted.base - (uintptr_t)memory - AT), memcmp(memory, device, BYTES) ? ", and other bytes there" : "");
    exit(1);
}

static void check_other(form *carry_out, const char *name, int offset)
{
    if (sigsetjmp(unknown, 1))
        return;
    carry_out(page + offset, 0);
    printf("%s at %d was taken for a load or store of a register\n", name, offset);
    exit(1);
}

int main(void)
{
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    static uint8_t stack[64 << 10];
    const stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    page = pages + PAGE;
    if (mprotect(page, PAGE, PROT_NONE) < 0 || sigaltstack(&own, NULL) < 0 || sigaction(SIGSEGV, &action, NULL) < 0)
        return 2;
#define X(name)                                                                                                        \
    for (uint64_t seed = 0; seed < 64; seed++)                                                                         \
        check(name, #name, seed);
    FORMS
#undef X
#define X(name) check_other(name, #name, AT);
    OTHERS
#undef X
#define X(name, offset) check_other(name, #name, offset);
    ACROSS
    printf("all as it should be\n");
    return 0;
}
