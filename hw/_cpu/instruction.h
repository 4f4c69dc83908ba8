/* The loads and stores by which programs reach a device's registers, read from their instructions. */
#ifndef SEL4PY_INSTRUCTION_H
#define SEL4PY_INSTRUCTION_H

#include <stdbool.h>
#include <stdint.h>

enum { NO_REGISTER = 255 };

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
    uint8_t base; /* a register that grows by `step` with it, or NO_REGISTER */
    int16_t step;
};

/* False where the instruction is another one. Reads no byte behind the instruction's last. */
bool instruction_of_x86(const uint8_t *code, struct instruction *found);
bool instruction_of_aarch64(const uint8_t *code, struct instruction *found);

/* The value of what a store puts there, of its register's value; what a load leaves in the register, of what it was. */
uint64_t instruction_stored(const struct instruction *instruction, uint64_t target);
uint64_t instruction_loaded(const struct instruction *instruction, uint64_t target, uint64_t value);

#endif
