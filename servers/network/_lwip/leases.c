/* When a lease is renewed, and how long it is good. lwIP counts it in minutes of a clock of its own, whose first one
 * may be over at once, and leaves the end of the former lease where the next one has none. */
#include "shim.h"

#include "lwip/prot/dhcp.h"

enum { LEAST_RENEWAL_MS = 5000 };
#define NO_END UINT32_MAX /* seconds */

static u8_t former_state;
static uint64_t since_ms;

static void begin_lease(struct dhcp *dhcp)
{
    since_ms = shim_now_ms();
    if (dhcp->offered_t0_lease == NO_END)
        dhcp->t0_timeout = 0;
    else if (dhcp->t0_timeout == 1)
        dhcp->t0_timeout = 2;
}

/* By `poll`, which the server calls every few seconds at least while there is a lease: before and behind lwIP's timers,
 * so that a lease is seen to begin before they count it, and one to be asked for again before it is given. */
void net_keep_leases(void)
{
    struct netif *netif = netif_default;
    struct dhcp *dhcp = netif ? netif_dhcp_data(netif) : NULL;
    if (!dhcp)
        return;
    if (dhcp->state == DHCP_STATE_BOUND && former_state != DHCP_STATE_BOUND)
        begin_lease(dhcp);
    former_state = dhcp->state;
    const uint64_t renewal_ms = (uint64_t)dhcp->offered_t1_renew * 1000;
    if (dhcp->state != DHCP_STATE_BOUND || dhcp->offered_t0_lease == NO_END ||
        shim_now_ms() - since_ms < (renewal_ms < LEAST_RENEWAL_MS ? LEAST_RENEWAL_MS : renewal_ms))
        return;
    dhcp_renew(netif);
    former_state = dhcp->state;
}
