/* An access to a device's register: what the thread's instruction wants, and what it has once the kernel did it.
 *
 * A register is no memory: each load and store is the device's matter. So nothing is ever mapped there, the access faults,
 * and FAULT says what it would do (SEL4PY_ACCESS_WIDTH_SHIFT). The kernel looks what is mapped at the address; only it knows
 * that this is a device's. It has then done the access, and the thread goes on behind the instruction.
 */
#include "fault.h"
#include "instruction.h"

#if defined(__x86_64__)

static const uint8_t REGISTERS[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static uint64_t get_register(const ucontext_t *context, uint8_t number)
{
    return (uint64_t)context->uc_mcontext.gregs[REGISTERS[number]];
}

static void set_register(ucontext_t *context, uint8_t number, uint64_t value)
{
    context->uc_mcontext.gregs[REGISTERS[number]] = (greg_t)value;
}

static bool read_instruction(uint64_t ip, struct instruction *found)
{
    return instruction_of_x86((const uint8_t *)(uintptr_t)ip, found);
}

#elif defined(__aarch64__)

enum { STACK_POINTER = 31 }; /* of a base */

static uint64_t get_register(const ucontext_t *context, uint8_t number)
{
    return number == STACK_POINTER ? context->uc_mcontext.sp : context->uc_mcontext.regs[number];
}

static void set_register(ucontext_t *context, uint8_t number, uint64_t value)
{
    if (number == STACK_POINTER)
        context->uc_mcontext.sp = value;
    else
        context->uc_mcontext.regs[number] = value;
}

static bool read_instruction(uint64_t ip, struct instruction *found)
{
    return instruction_of_aarch64((const uint8_t *)(uintptr_t)ip, found);
}

#endif

static uint64_t address_of(const struct access *access, const struct instruction *found, const ucontext_t *context)
{
    const struct operand *operand = &found->operand;
    uint64_t address = (uint64_t)(int64_t)operand->displacement;
    if (operand->is_relative)
        address += access->ip + found->length;
    if (operand->base != NO_REGISTER)
        address += get_register(context, operand->base);
    if (operand->index != NO_REGISTER)
        address += instruction_indexed(operand, get_register(context, operand->index));
    return address;
}

/* The instruction was carried out up to the access, or would have: its bytes can be read. One that begins in the page
 * before is none of the register at which it faults. */
static bool find_instruction(const struct access *access, const ucontext_t *context, struct instruction *found)
{
    return !(access->kind & SEL4PY_FAULT_FETCH) && read_instruction(access->ip, found) &&
           found->is_store == !!(access->kind & SEL4PY_FAULT_WRITE) &&
           address_of(access, found, context) == access->address;
}

uint64_t access_wanted(const struct access *access, const ucontext_t *context)
{
    struct instruction found;
    if (!find_instruction(access, context, &found))
        return 0;
    const uint64_t target = found.target == NO_REGISTER ? 0 : get_register(context, found.target);
    return (uint64_t)found.width << SEL4PY_ACCESS_WIDTH_SHIFT | (found.is_store ? instruction_stored(&found, target) : 0);
}

bool access_done(const struct access *access, ucontext_t *context, uint64_t value)
{
    struct instruction found;
    if (!find_instruction(access, context, &found))
        return false;
    if (found.step) {
        const uint8_t base = found.operand.base;
        set_register(context, base, get_register(context, base) + (uint64_t)(int64_t)found.step);
    }
    if (!found.is_store && found.target != NO_REGISTER)
        set_register(context, found.target, instruction_loaded(&found, get_register(context, found.target), value));
    fault_set_ip(context, access->ip + found.length);
    return true;
}
