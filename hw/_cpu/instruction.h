/* The loads and stores by which programs reach a device's registers, read from their instructions. */
#ifndef SEL4PY_INSTRUCTION_H
#define SEL4PY_INSTRUCTION_H

#include <stdbool.h>
#include <stdint.h>

enum { NO_REGISTER = 255 };

/* Where in memory: the sum of registers, NO_REGISTER where there is none, and a number. */
struct operand {
    uint8_t base, index;
    uint8_t shift;                  /* of the index, by so many bits */
    bool has_half, has_signed_half; /* of the index, whose upper half does not count then */
    bool is_relative;               /* the address of the next instruction is added */
    int32_t displacement;
};

/* One load into a register, or one store of a register or a number. Registers by the processor's own numbers. */
struct instruction {
    uint8_t length; /* bytes */
    uint8_t width;  /* bytes that it reads or writes in memory: 1, 2 or 4 */
    bool is_store;
    bool is_signed;      /* a load's value keeps its sign */
    uint8_t target;      /* what is loaded or stored: a register, or NO_REGISTER: `number` is stored, or nothing loaded */
    uint8_t into;        /* bytes of the register that a load changes; 4 clears the others, 1 and 2 leave them */
    bool is_second_byte; /* of the register: AH, CH, DH, BH */
    uint64_t number;
    struct operand operand;
    int16_t step; /* the operand's base grows by it */
};

/* False where the instruction is another one. Reads no byte behind the instruction's last. */
bool instruction_of_x86(const uint8_t *code, struct instruction *found);
bool instruction_of_aarch64(const uint8_t *code, struct instruction *found);

/* The part of an operand's address that its index makes, of that register's value. */
uint64_t instruction_indexed(const struct operand *operand, uint64_t index);

/* The value of what a store puts there, of its register's value; what a load leaves in the register, of what it was. */
uint64_t instruction_stored(const struct instruction *instruction, uint64_t target);
uint64_t instruction_loaded(const struct instruction *instruction, uint64_t target, uint64_t value);

#endif
