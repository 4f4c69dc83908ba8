/* What lwIP asks the shim. */

#ifndef HOOKS_H
#define HOOKS_H

struct netif;
struct ip6_addr;
const struct ip6_addr *shim_gateway6(struct netif *netif, const struct ip6_addr *destination);

#endif
