/* The loads and stores of both processors that have one operand of 1, 2 or 4 bytes in memory, and do nothing else to it.
 *
 * Sources: Intel SDM volume 2, sections 2.1-2.2 (encoding) and MOV, MOVZX, MOVSX; Arm ARM C4.1.94 (load/store register),
 * C6.2 (LDR, LDRB, LDRH, LDRSB, LDRSH, LDRSW, STR, STRB, STRH). Compilers make these of a volatile access, and CPython and
 * numpy of an item of a memoryview or an array. What reads and writes at once, takes several items or 8 bytes is none.
 */
#include "instruction.h"

#include <string.h>

/* --- x86_64 ----------------------------------------------------------------------------------------------------------- */

enum {
    REX = 0x40,
    REX_MASK = 0xf0,
    REX_B = 1,
    REX_R = 4,
    REX_W = 8,
    OPERAND_SIZE = 0x66,
    ADDRESS_SIZE = 0x67,
    STACK_POINTER = 4, /* in these fields: a SIB byte follows */
    FRAME_POINTER = 5, /* without displacement: 4 bytes of it */
};

static bool is_segment_prefix(uint8_t byte)
{
    return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x64 || byte == 0x65;
}

/* Bytes of the address behind an opcode, ModRM included; 0 where it names a register, not memory. */
static unsigned address_length(const uint8_t *modrm)
{
    const unsigned mode = modrm[0] >> 6, base = modrm[0] & 7;
    if (mode == 3)
        return 0;
    const bool has_sib = base == STACK_POINTER;
    const unsigned displacement = mode == 1                                                       ? 1
                                  : mode == 2 || (has_sib ? modrm[1] & 7 : base) == FRAME_POINTER ? 4
                                                                                                  : 0;
    return 1 + has_sib + displacement;
}

struct opcode {
    uint8_t width, into; /* 0: as the operand's size is */
    bool is_store, is_signed, has_number;
};

static bool read_opcode(const uint8_t **at, uint8_t rex, struct opcode *found)
{
    switch (*(*at)++) {
    case 0x8a: *found = (struct opcode){.width = 1, .into = 1}; return true;
    case 0x8b: *found = (struct opcode){0}; return true;
    case 0x88: *found = (struct opcode){.width = 1, .is_store = true}; return true;
    case 0x89: *found = (struct opcode){.is_store = true}; return true;
    case 0xc6: *found = (struct opcode){.width = 1, .is_store = true, .has_number = true}; return true;
    case 0xc7: *found = (struct opcode){.is_store = true, .has_number = true}; return true;
    case 0x63: *found = (struct opcode){.width = 4, .is_signed = true}; return rex & REX_W;
    case 0x0f: break;
    default: return false;
    }
    switch (*(*at)++) {
    case 0xb6: *found = (struct opcode){.width = 1}; return true;
    case 0xb7: *found = (struct opcode){.width = 2}; return true;
    case 0xbe: *found = (struct opcode){.width = 1, .is_signed = true}; return true;
    case 0xbf: *found = (struct opcode){.width = 2, .is_signed = true}; return true;
    default: return false;
    }
}

bool instruction_of_x86(const uint8_t *code, struct instruction *found)
{
    const uint8_t *at = code;
    bool is_short = false;
    for (; *at == OPERAND_SIZE || *at == ADDRESS_SIZE || is_segment_prefix(*at); at++) {
        is_short |= *at == OPERAND_SIZE;
        if (at - code == 4) /* as many as there are kinds of prefixes */
            return false;
    }
    const uint8_t rex = (*at & REX_MASK) == REX ? *at++ : 0;
    struct opcode opcode;
    if (!read_opcode(&at, rex, &opcode))
        return false;
    const uint8_t operand = rex & REX_W ? 8 : is_short ? 2 : 4;
    const uint8_t width = opcode.width ? opcode.width : operand;
    const unsigned length = address_length(at);
    if (!length || width == 8)
        return false;
    uint8_t target = (uint8_t)((at[0] >> 3 & 7) | (rex & REX_R ? 8 : 0));
    uint64_t number = 0;
    bool is_second_byte = false;
    if (opcode.has_number) {
        memcpy(&number, at + length, width);
        at += width;
        target = NO_REGISTER;
    } else if (!rex && target >= 4 && (opcode.is_store ? width : opcode.into) == 1) {
        target -= 4;
        is_second_byte = true;
    }
    *found = (struct instruction){
        .length = (uint8_t)(at + length - code),
        .width = width,
        .is_store = opcode.is_store,
        .is_signed = opcode.is_signed,
        .target = target,
        .into = opcode.into ? opcode.into : operand,
        .is_second_byte = is_second_byte,
        .number = number,
        .base = NO_REGISTER,
    };
    return true;
}

/* --- AArch64 ---------------------------------------------------------------------------------------------------------- */

enum { POST_INDEX = 1, PRE_INDEX = 3, ZERO_REGISTER = 31 };

bool instruction_of_aarch64(const uint8_t *code, struct instruction *found)
{
    uint32_t word;
    memcpy(&word, code, sizeof word);
    const unsigned size = word >> 30, kind = word >> 22 & 3, index = word >> 10 & 3;
    if ((word >> 26 & 15) != 14 || size == 3 || word >> 25 & 1)
        return false;
    const bool has_offset = word >> 24 & 1, has_register = !has_offset && word >> 21 & 1;
    if ((has_register && index != 2) || (size == 2 && kind == 3)) /* atomic operations; what is none */
        return false;
    const bool steps = !has_offset && !has_register && (index == POST_INDEX || index == PRE_INDEX);
    const uint8_t target = word & 31;
    const int16_t step = (int16_t)(word >> 12 & 511);
    *found = (struct instruction){
        .length = 4,
        .width = (uint8_t)(1 << size),
        .is_store = kind == 0,
        .is_signed = kind > 1,
        .target = target == ZERO_REGISTER ? NO_REGISTER : target,
        .into = kind == 2 ? 8 : 4,
        .base = steps ? word >> 5 & 31 : NO_REGISTER,
        .step = steps ? (int16_t)(step - (step & 256 ? 512 : 0)) : 0,
    };
    return true;
}

/* --- values ----------------------------------------------------------------------------------------------------------- */

static uint64_t low_bytes(unsigned bytes) { return bytes < 8 ? ((uint64_t)1 << 8 * bytes) - 1 : UINT64_MAX; }

uint64_t instruction_stored(const struct instruction *instruction, uint64_t target)
{
    const uint64_t value = instruction->target == NO_REGISTER ? instruction->number
                           : instruction->is_second_byte      ? target >> 8
                                                              : target;
    return value & low_bytes(instruction->width);
}

uint64_t instruction_loaded(const struct instruction *instruction, uint64_t target, uint64_t value)
{
    const uint64_t sign = (uint64_t)1 << (8 * instruction->width - 1);
    value &= low_bytes(instruction->width);
    if (instruction->is_signed)
        value = (value ^ sign) - sign;
    value &= low_bytes(instruction->into);
    if (instruction->into > 2)
        return value;
    const unsigned shift = instruction->is_second_byte ? 8 : 0;
    return (target & ~(low_bytes(instruction->into) << shift)) | value << shift;
}
