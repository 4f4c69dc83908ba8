/* Name servers by who tells of them. The settings' are asked first, or without them those of DHCP; then the routers', each
 * for as long as its router has said (RFC 8106, section 5.1), which lwIP leaves out. */
#include "shim.h"

#define FOR_EVER UINT64_MAX /* also what a router means by the longest lifetime */

struct servers {
    ip_addr_t hosts[DNS_MAX_SERVERS];
    uint64_t until_ms[DNS_MAX_SERVERS]; /* routers' */
    unsigned count;
};
static struct servers of_settings, of_dhcp, of_routers;

static int find_server(const struct servers *servers, const ip_addr_t *host)
{
    for (unsigned at = 0; at < servers->count; at++)
        if (ip_addr_cmp(&servers->hosts[at], host))
            return (int)at;
    return -1;
}

static void drop_server(struct servers *servers, unsigned at)
{
    servers->count--;
    for (; at < servers->count; at++) {
        servers->hosts[at] = servers->hosts[at + 1];
        servers->until_ms[at] = servers->until_ms[at + 1];
    }
}

/* 0.0.0.0 is no server: lwIP takes it for the end of its list, so that it would ask none of those behind it. */
static void add_servers(struct servers *all, const struct servers *more)
{
    for (unsigned at = 0; at < more->count && all->count < DNS_MAX_SERVERS; at++)
        if (!ip_addr_isany(&more->hosts[at]) && find_server(all, &more->hosts[at]) < 0)
            all->hosts[all->count++] = more->hosts[at];
}

static void use_servers(void)
{
    struct servers all = {.count = 0};
    add_servers(&all, of_settings.count ? &of_settings : &of_dhcp);
    add_servers(&all, &of_routers);
    for (unsigned at = 0; at < DNS_MAX_SERVERS; at++)
        dns_setserver((u8_t)at, at < all.count ? &all.hosts[at] : NULL);
}

/* A lease's name servers come one after the other, and are all there are. */
void shim_name_server_of_dhcp(uint8_t at, const ip_addr_t *address)
{
    if (at >= DNS_MAX_SERVERS)
        return;
    of_dhcp.count = at;
    of_dhcp.hosts[of_dhcp.count++] = *address;
    use_servers();
}

/* What lwIP finds at its places where a router takes one back: that one, once. */
const ip_addr_t *shim_name_server_at(uint8_t at, const ip_addr_t *told)
{
    return at ? IP_ADDR_ANY : told;
}

/* A router tells of one for so many seconds (as they came); 0 takes it back, whether lwIP has a place for it or not. */
void shim_name_server_of_router(uint8_t at, const ip_addr_t *address, uint32_t lifetime)
{
    (void)at;
    const uint32_t seconds = lwip_ntohl(lifetime);
    int known = find_server(&of_routers, address);
    if (!seconds) {
        if (known >= 0)
            drop_server(&of_routers, (unsigned)known);
    } else {
        if (known < 0) {
            if (of_routers.count == DNS_MAX_SERVERS)
                drop_server(&of_routers, 0);
            known = (int)of_routers.count;
            of_routers.hosts[of_routers.count++] = *address;
        }
        of_routers.until_ms[known] = seconds == UINT32_MAX ? FOR_EVER : shim_now_ms() + (uint64_t)seconds * 1000;
    }
    use_servers();
}

/* Those of which no router has told again in time. */
void net_forget_servers(void)
{
    const unsigned before = of_routers.count;
    const uint64_t now = before ? shim_now_ms() : 0;
    for (unsigned at = 0; at < of_routers.count;)
        if (of_routers.until_ms[at] <= now)
            drop_server(&of_routers, at);
        else
            at++;
    if (of_routers.count != before)
        use_servers();
}

FUNCTION(net_set_name_servers)
{
    (void)module;
    struct servers said = {.count = 0};
    for (Py_ssize_t at = 0; at < count && at < DNS_MAX_SERVERS; at++)
        if (address_of(arguments[at], &said.hosts[said.count++]) < 0)
            return NULL;
    of_settings = said;
    use_servers();
    Py_RETURN_NONE;
}

FUNCTION(net_name_servers)
{
    (void)module, (void)arguments, (void)count;
    PyObject *list = PyList_New(0);
    for (u8_t at = 0; list && at < DNS_MAX_SERVERS; at++) {
        const ip_addr_t *address = dns_getserver(at);
        if (ip_addr_isany(address))
            continue;
        PyObject *text = text_of(address);
        if (!text || PyList_Append(list, text) < 0)
            Py_CLEAR(list);
        Py_XDECREF(text);
    }
    return list;
}
