/* lwIP's view of this compiler: gcc or clang on Linux. */

#ifndef ARCH_CC_H
#define ARCH_CC_H

#include <stdio.h>
#include <stdlib.h>

#define LWIP_PLATFORM_DIAG(x) ((void)0)
#define LWIP_PLATFORM_ASSERT(text) (fprintf(stderr, "lwIP: %s\n", text), abort())
/* A wrong argument is refused, and ends nothing. */
#define LWIP_ERROR(text, right, handler) \
    do { \
        if (!(right)) { \
            handler; \
        } \
    } while (0)

#endif
