/* lwIP's view of this compiler: gcc or clang on Linux. */
#ifndef SEL4PY_LWIP_CC_H
#define SEL4PY_LWIP_CC_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

uint32_t shim_random(void);
#define LWIP_RAND() shim_random()
#define LWIP_TIMEVAL_PRIVATE 0
#define LWIP_PLATFORM_DIAG(message) ((void)0)
/* What lwIP finds impossible must not end a server that anybody on the network can reach. */
#define LWIP_NOASSERT 1

#endif
