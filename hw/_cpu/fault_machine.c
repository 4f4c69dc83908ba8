/* What a fault looks like on this processor, and the accesses whose faults can be left: a copy, and those to one word.
 *
 * They are a few instructions of assembly, so that which access faulted, how far it came and where it goes on are known
 * from the instruction pointer alone: nothing is to be set up before an access, and nothing to be undone behind it.
 */
#include "fault.h"

/* The instructions from _first up to, and without, _left may fault; at _left the copy, or the word's access, gives up. */
extern const char fault_guarded_first[] __attribute__((visibility("hidden")));
extern const char fault_guarded_left[] __attribute__((visibility("hidden")));
extern const char fault_word_first[] __attribute__((visibility("hidden")));
extern const char fault_word_left[] __attribute__((visibility("hidden")));

#define HIDDEN(name) ".globl " name "\n.hidden " name "\n"
#define FUNCTION(name, body)                                                                                           \
    ".text\n.p2align 4\n" HIDDEN(name) ".type " name ", %function\n" name ":\n"                                        \
    ".cfi_startproc\n" body ".cfi_endproc\n.size " name ", . - " name "\n"

__asm__(HIDDEN("fault_guarded_first") HIDDEN("fault_guarded_left"));
__asm__(HIDDEN("fault_word_first") HIDDEN("fault_word_left"));

#if defined(__x86_64__)

#include <sys/ucontext.h>

/* rdi to, rsi from, rdx bytes. The string instruction stops at the byte that faults, with all three registers right. */
__asm__(FUNCTION("fault_guarded_copy",
                 "endbr64\n"
                 "mov %rdx, %rcx\n"
                 "fault_guarded_first:\n"
                 "rep movsb\n"
                 "fault_guarded_left:\n"
                 "mov %rcx, %rax\n"
                 "ret\n"));
/* rdi word, rsi where to or what, edx width of a part. This processor's loads and stores are acquiring and releasing ones. */
__asm__(FUNCTION("fault_guarded_load",
                 "endbr64\n"
                 "fault_word_first:\n"
                 "mov (%rdi), %rdx\n"
                 "mov %rdx, (%rsi)\n"
                 "mov $1, %eax\n"
                 "ret\n")
        FUNCTION("fault_guarded_load_part",
                 "endbr64\n"
                 "cmp $2, %edx\n"
                 "ja 4f\n"
                 "je 2f\n"
                 "movzbl (%rdi), %eax\n"
                 "jmp 1f\n"
                 "2: movzwl (%rdi), %eax\n"
                 "jmp 1f\n"
                 "4: mov (%rdi), %eax\n"
                 "1: mov %rax, (%rsi)\n"
                 "mov $1, %eax\n"
                 "ret\n")
        FUNCTION("fault_guarded_store_part",
                 "endbr64\n"
                 "cmp $2, %edx\n"
                 "ja 4f\n"
                 "je 2f\n"
                 "mov %sil, (%rdi)\n"
                 "jmp 1f\n"
                 "2: mov %si, (%rdi)\n"
                 "jmp 1f\n"
                 "4: mov %esi, (%rdi)\n"
                 "1: mov $1, %eax\n"
                 "ret\n")
        FUNCTION("fault_guarded_store",
                 "endbr64\n"
                 "mov %rsi, (%rdi)\n"
                 "mov $1, %eax\n"
                 "ret\n"
                 "fault_word_left:\n"
                 "xor %eax, %eax\n"
                 "ret\n"));

enum { PAGE_FAULT = 14, ERROR_BITS = SEL4PY_FAULT_WRITE | SEL4PY_FAULT_USER | SEL4PY_FAULT_FETCH };

void fault_read_context(const ucontext_t *context, struct access *access)
{
    const greg_t *registers = context->uc_mcontext.gregs;
    access->ip = (uint64_t)registers[REG_RIP];
    /* The processor's own word, but for PRESENT: memory that was never touched is not present to it, whatever is mapped. */
    access->kind = registers[REG_TRAPNO] == PAGE_FAULT ? (uint32_t)registers[REG_ERR] & ERROR_BITS : SEL4PY_FAULT_USER;
}

uintptr_t fault_stack_pointer(const ucontext_t *context) { return (uintptr_t)context->uc_mcontext.gregs[REG_RSP]; }

void fault_set_ip(ucontext_t *context, uint64_t ip) { context->uc_mcontext.gregs[REG_RIP] = (greg_t)ip; }

#elif defined(__aarch64__)

#include <asm/sigcontext.h>

/* x0 to, x1 from, x2 bytes. A pair counts as copied once it was stored. */
__asm__(FUNCTION("fault_guarded_copy",
                 "hint #34\n" /* bti c */
                 "fault_guarded_first:\n"
                 "cmp x2, #16\n"
                 "b.lo 1f\n"
                 "ldp x3, x4, [x1]\n"
                 "stp x3, x4, [x0]\n"
                 "add x1, x1, #16\n"
                 "add x0, x0, #16\n"
                 "sub x2, x2, #16\n"
                 "b fault_guarded_first\n"
                 "1: cbz x2, fault_guarded_left\n"
                 "ldrb w3, [x1]\n"
                 "strb w3, [x0]\n"
                 "add x1, x1, #1\n"
                 "add x0, x0, #1\n"
                 "sub x2, x2, #1\n"
                 "b 1b\n"
                 "fault_guarded_left:\n"
                 "mov x0, x2\n"
                 "ret\n"));
/* x0 word, x1 where to or what, w2 width of a part. */
__asm__(FUNCTION("fault_guarded_load",
                 "hint #34\n"
                 "fault_word_first:\n"
                 "ldar x2, [x0]\n"
                 "str x2, [x1]\n"
                 "mov x0, #1\n"
                 "ret\n")
        FUNCTION("fault_guarded_load_part",
                 "hint #34\n"
                 "cmp w2, #2\n"
                 "b.hi 4f\n"
                 "b.eq 2f\n"
                 "ldrb w3, [x0]\n"
                 "b 1f\n"
                 "2: ldrh w3, [x0]\n"
                 "b 1f\n"
                 "4: ldr w3, [x0]\n"
                 "1: str x3, [x1]\n"
                 "mov x0, #1\n"
                 "ret\n")
        FUNCTION("fault_guarded_store_part",
                 "hint #34\n"
                 "cmp w2, #2\n"
                 "b.hi 4f\n"
                 "b.eq 2f\n"
                 "strb w1, [x0]\n"
                 "b 1f\n"
                 "2: strh w1, [x0]\n"
                 "b 1f\n"
                 "4: str w1, [x0]\n"
                 "1: mov x0, #1\n"
                 "ret\n")
        FUNCTION("fault_guarded_store",
                 "hint #34\n"
                 "stlr x1, [x0]\n"
                 "mov x0, #1\n"
                 "ret\n"
                 "fault_word_left:\n"
                 "mov x0, #0\n"
                 "ret\n"));

/* Of ESR_EL1, Arm ARM D17.2.37: exception class; data abort: write not read, cache maintenance. */
enum { CLASS_SHIFT = 26, CLASS_MASK = 0x3f, INSTRUCTION_ABORT = 0x20, DATA_ABORT = 0x24, WRITE = 1 << 6, CACHE = 1 << 8 };

static bool find_syndrome(const ucontext_t *context, uint64_t *syndrome)
{
    const uint8_t *at = context->uc_mcontext.__reserved, *end = at + sizeof context->uc_mcontext.__reserved;
    while (end - at >= (ptrdiff_t)sizeof(struct _aarch64_ctx)) {
        const struct _aarch64_ctx *head = (const void *)at;
        if (head->magic == ESR_MAGIC) {
            *syndrome = ((const struct esr_context *)(const void *)at)->esr;
            return true;
        }
        if (!head->magic || head->size < sizeof *head)
            break;
        at += head->size;
    }
    return false;
}

/* Bit 22 of the instruction is clear in stores of one register or two, and set in loads, but for those that extend a sign. */
static bool is_store(uint32_t instruction)
{
    const bool extends_sign = (instruction >> 26 & 15) == 14 && instruction >> 23 & 1;
    return !(instruction >> 22 & 1) && !extends_sign;
}

void fault_read_context(const ucontext_t *context, struct access *access)
{
    uint64_t syndrome;
    access->ip = context->uc_mcontext.pc;
    access->kind = SEL4PY_FAULT_USER;
    if (!find_syndrome(context, &syndrome)) {
        if (access->ip != access->address && is_store(*(const uint32_t *)(uintptr_t)access->ip))
            access->kind |= SEL4PY_FAULT_WRITE;
        return;
    }
    const unsigned class = syndrome >> CLASS_SHIFT & CLASS_MASK;
    if (class == INSTRUCTION_ABORT)
        access->kind |= SEL4PY_FAULT_FETCH;
    else if (class == DATA_ABORT && (syndrome & WRITE) && !(syndrome & CACHE))
        access->kind |= SEL4PY_FAULT_WRITE;
}

uintptr_t fault_stack_pointer(const ucontext_t *context) { return context->uc_mcontext.sp; }

void fault_set_ip(ucontext_t *context, uint64_t ip) { context->uc_mcontext.pc = ip; }

#else
#error "faults are known on x86_64 and aarch64"
#endif

static bool is_copy(uint64_t ip)
{
    return ip - (uintptr_t)fault_guarded_first < (uintptr_t)(fault_guarded_left - fault_guarded_first);
}

bool fault_is_guarded(uint64_t ip)
{
    return is_copy(ip) || ip - (uintptr_t)fault_word_first < (uintptr_t)(fault_word_left - fault_word_first);
}

void fault_leave_guarded(ucontext_t *context)
{
    struct access access;
    fault_read_context(context, &access);
    fault_set_ip(context, (uintptr_t)(is_copy(access.ip) ? fault_guarded_left : fault_word_left));
}
