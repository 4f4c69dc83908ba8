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
    REX_X = 2,
    REX_R = 4,
    REX_W = 8,
    OPERAND_SIZE = 0x66,
    STACK_POINTER = 4, /* in these fields: a SIB byte follows; as an index: there is none */
    FRAME_POINTER = 5, /* without displacement: 4 bytes of it, and no register */
};

/* ES, CS, SS, DS: these begin at 0. What is relative to FS or GS is none, nor one that cuts its address to 32 bits. */
static bool is_segment_prefix(uint8_t byte) { return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e; }

/* Of the address behind an opcode. Bytes that it has, ModRM included; 0 where it names a register, not memory. */
static unsigned read_operand(const uint8_t *modrm, uint8_t rex, struct operand *found)
{
    const unsigned mode = modrm[0] >> 6, field = modrm[0] & 7;
    if (mode == 3)
        return 0;
    const bool has_sib = field == STACK_POINTER;
    const uint8_t sib = has_sib ? modrm[1] : STACK_POINTER << 3, base = has_sib ? sib & 7 : (uint8_t)field;
    const uint8_t index = (uint8_t)((sib >> 3 & 7) | (rex & REX_X ? 8 : 0));
    const bool has_no_base = mode == 0 && base == FRAME_POINTER;
    const unsigned before = 1 + has_sib, bytes = mode == 1 ? 1 : mode == 2 || has_no_base ? 4 : 0;
    *found = (struct operand){
        .base = has_no_base ? NO_REGISTER : (uint8_t)(base | (rex & REX_B ? 8 : 0)),
        .index = has_sib && index != STACK_POINTER ? index : NO_REGISTER,
        .shift = sib >> 6,
        .is_relative = has_no_base && !has_sib,
    };
    if (bytes == 1)
        found->displacement = (int8_t)modrm[before];
    else
        memcpy(&found->displacement, modrm + before, bytes);
    return before + bytes;
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
    for (; *at == OPERAND_SIZE || is_segment_prefix(*at); at++) {
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
    struct operand memory;
    const unsigned length = read_operand(at, rex, &memory);
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
        .operand = memory,
    };
    return true;
}

/* --- AArch64 ---------------------------------------------------------------------------------------------------------- */

enum { POST_INDEX = 1, PRE_INDEX = 3, ZERO_REGISTER = 31, WHOLE = 1, SIGNED = 4 /* of a register that is added */ };

static uint8_t unless_zero(uint32_t number) { return number == ZERO_REGISTER ? NO_REGISTER : (uint8_t)number; }

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
    const unsigned extension = word >> 13 & 7;
    const int16_t number = (int16_t)((word >> 12 & 511) - (word >> 12 & 256) * 2), step = steps ? number : 0;
    const struct operand memory = {
        .base = word >> 5 & 31,
        .index = has_register ? unless_zero(word >> 16 & 31) : NO_REGISTER,
        .shift = word >> 12 & 1 ? (uint8_t)size : 0,
        .has_half = !(extension & WHOLE),
        .has_signed_half = extension & SIGNED,
        .displacement = has_offset                            ? (int32_t)((word >> 10 & 4095) << size)
                        : has_register || index == POST_INDEX ? 0
                                                              : number,
    };
    *found = (struct instruction){
        .length = 4,
        .width = (uint8_t)(1 << size),
        .is_store = kind == 0,
        .is_signed = kind > 1,
        .target = unless_zero(word & 31),
        .into = kind == 2 ? 8 : 4,
        .operand = memory,
        .step = step,
    };
    return true;
}

/* --- values ----------------------------------------------------------------------------------------------------------- */

uint64_t instruction_indexed(const struct operand *operand, uint64_t index)
{
    if (operand->has_half)
        index = operand->has_signed_half ? (uint64_t)(int64_t)(int32_t)index : (uint32_t)index;
    return index << operand->shift;
}

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
