/* What lwIP asks the shim. */

#ifndef HOOKS_H
#define HOOKS_H

#include <stdint.h>

struct ip_addr;
struct ip6_addr;
struct netif;
struct pbuf;
struct tcp_hdr;
struct tcp_pcb;
signed char shim_arrives(
    struct tcp_pcb *pcb, struct tcp_hdr *header, unsigned option_bytes, unsigned first_bytes, uint8_t *second,
    struct pbuf *segment);
const struct ip6_addr *shim_gateway6(struct netif *netif, const struct ip6_addr *destination);

/* Who tells of name servers tells the shim, which keeps them apart and puts them in their order. Only lwIP's DHCP and
 * neighbour discovery see this file and do so. */
#ifdef LWIP_HDR_PROT_DHCP_H
#define dns_setserver(at, address) shim_name_server_of_dhcp(at, address)
#else
/* One that is taken back is looked for among lwIP's, which need not have it: it is found at the first place. */
#define dns_getserver(at) shim_name_server_at(at, &rdnss_address)
#define dns_setserver(at, address) shim_name_server_of_router(at, &rdnss_address, rdnss_opt->lifetime)
#endif
void shim_name_server_of_dhcp(uint8_t at, const struct ip_addr *address);
const struct ip_addr *shim_name_server_at(uint8_t at, const struct ip_addr *told);
void shim_name_server_of_router(uint8_t at, const struct ip_addr *address, uint32_t lifetime);

#endif
