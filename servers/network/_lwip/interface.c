/* Interfaces, addresses, names, echo requests. */
#include <arpa/inet.h> /* first: what lwIP has of the same names is lwIP's from here on */

#include "shim.h"

#include <string.h>

#include "lwip/icmp.h"
#include "lwip/inet_chksum.h"
#include "lwip/prot/dhcp.h"

struct interface {
    struct netif netif;
    PyObject *transmit;
    uint8_t mac[6];
    uint16_t mtu;
    struct eth_addr heard; /* who has sent the last frame */
    bool is_answering;     /* what is sent now goes there */
};

static struct interface *interfaces[MOST_NETIFS];
static unsigned interface_count;
static ip6_addr_t gateway6;
static bool has_gateway6;
static PyObject *resolved; /* a list of (token, address or None) */
static PyObject *answers;  /* a list of (version, number) of echo replies */
static struct raw_pcb *echo4, *echo6;

int address_of(PyObject *text, ip_addr_t *address)
{
    const char *written = PyUnicode_AsUTF8AndSize(text, NULL);
    if (!written)
        return -1;
    if (!ipaddr_aton(written, address)) {
        raise_error(ERR_VAL);
        return -1;
    }
    if (IP_IS_V6(address) && interface_count && ip6_addr_lacks_zone(ip_2_ip6(address), IP6_UNKNOWN))
        ip6_addr_assign_zone(ip_2_ip6(address), IP6_UNKNOWN, &interfaces[0]->netif);
    return 0;
}

PyObject *text_of(const ip_addr_t *address)
{
    char text[IPADDR_STRLEN_MAX]; /* as everybody writes it (RFC 5952); lwIP writes IPv6 in capitals, and shortens less */
    const void *bytes = IP_IS_V6(address) ? (const void *)ip_2_ip6(address)->addr : &ip_2_ip4(address)->addr;
    return PyUnicode_FromString(inet_ntop(IP_IS_V6(address) ? AF_INET6 : AF_INET, bytes, text, sizeof text) ? text : "");
}

static err_t transmit(struct netif *netif, struct pbuf *packet)
{
    struct interface *interface = netif->state;
    PyObject *frame = PyBytes_FromStringAndSize(NULL, packet->tot_len);
    if (!frame)
        return ERR_MEM; /* the exception is raised by the call that we are in */
    pbuf_copy_partial(packet, PyBytes_AsString(frame), packet->tot_len, 0);
    PyObject *done = PyErr_Occurred() ? NULL : PyObject_CallFunctionObjArgs(interface->transmit, frame, NULL);
    Py_DECREF(frame);
    Py_XDECREF(done);
    return done ? ERR_OK : ERR_IF;
}

static err_t output4(struct netif *netif, struct pbuf *packet, const ip4_addr_t *to)
{
    const struct interface *interface = netif->state;
    if (!interface->is_answering)
        return etharp_output(netif, packet, to);
    return ethernet_output(netif, packet, (const struct eth_addr *)netif->hwaddr, &interface->heard, ETHTYPE_IP);
}

static err_t output6(struct netif *netif, struct pbuf *packet, const ip6_addr_t *to)
{
    const struct interface *interface = netif->state;
    if (!interface->is_answering)
        return ethip6_output(netif, packet, to);
    return ethernet_output(netif, packet, (const struct eth_addr *)netif->hwaddr, &interface->heard, ETHTYPE_IPV6);
}

/* Who is many can be nobody's neighbour: to look for each of them would take the places of those who are. */
void net_answer(struct pbuf *packet)
{
    struct netif *netif = ip_current_input_netif();
    struct interface *interface = netif->linkoutput == transmit ? netif->state : NULL;
    if (interface && interface->heard.addr[0] & 1)
        return; /* no answer goes to a group */
    if (interface)
        interface->is_answering = true;
    ip_output_if(packet, ip_current_dest_addr(), ip_current_src_addr(), TCP_TTL, 0, IP_PROTO_TCP, netif);
    if (interface)
        interface->is_answering = false;
}

static err_t prepare(struct netif *netif)
{
    struct interface *interface = netif->state;
    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->output = output4;
    netif->output_ip6 = output6;
    netif->linkoutput = transmit;
    netif->mtu = interface->mtu;
    netif->mtu6 = interface->mtu;
    netif->hwaddr_len = 6;
    memcpy(netif->hwaddr, interface->mac, 6);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    return ERR_OK;
}

bool net_is_quiet(void)
{
    for (unsigned at = 0; at < interface_count; at++) {
        struct dhcp *dhcp = netif_dhcp_data(&interfaces[at]->netif);
        if (dhcp && dhcp->state != DHCP_STATE_BOUND && dhcp->state != DHCP_STATE_OFF)
            return false;
    }
    return tcp_active_pcbs == NULL && tcp_tw_pcbs == NULL;
}

FUNCTION(net_add_interface)
{
    (void)module, (void)count;
    char *mac;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(arguments[0], &mac, &size) < 0)
        return NULL;
    unsigned long mtu = PyLong_AsUnsignedLong(arguments[1]);
    if (PyErr_Occurred())
        return NULL;
    if (size != 6 || mtu < 576 || mtu > 65535 || interface_count == MOST_NETIFS)
        return raise_error(ERR_ARG);
    struct interface *interface = calloc(1, sizeof *interface);
    if (!interface)
        return raise_error(ERR_MEM);
    memcpy(interface->mac, mac, 6);
    interface->mtu = (uint16_t)(mtu < MOST_MTU ? mtu : MOST_MTU);
    Py_INCREF(arguments[2]);
    interface->transmit = arguments[2];
    if (!netif_add(&interface->netif, NULL, NULL, NULL, interface, prepare, ethernet_input)) {
        Py_DECREF(arguments[2]);
        free(interface);
        return raise_error(ERR_MEM);
    }
    netif_create_ip6_linklocal_address(&interface->netif, 1);
    interface->netif.ip6_autoconfig_enabled = 1;
    if (!netif_default)
        netif_set_default(&interface->netif);
    interfaces[interface_count] = interface;
    shares_begin();
    return PyLong_FromUnsignedLong(interface_count++);
}

static struct interface *interface_of(PyObject *number)
{
    unsigned long at = PyLong_AsUnsignedLong(number);
    if (PyErr_Occurred())
        return NULL;
    if (at >= interface_count) {
        raise_error(ERR_ARG);
        return NULL;
    }
    return interfaces[at];
}

/* Whether a frame says that it comes from this host, or goes to its loopback (RFC 1122, 3.2.1.3). Rules go by addresses,
 * so nobody on the network is taken for one of us. Who has a tentative address is heard: that is how we find out.
 * Asked of our copy, in one piece: what it was copied from may be another's to write. */
static bool is_of_ourselves(struct netif *netif, const struct pbuf *copy)
{
    const uint8_t *frame = copy->payload;
    const size_t size = copy->len;
    const unsigned kind = (unsigned)frame[12] << 8 | frame[13];
    const uint8_t *packet = frame + SIZEOF_ETH_HDR;
    if (kind == ETHTYPE_IP && size >= SIZEOF_ETH_HDR + IP_HLEN) {
        ip4_addr_t source, target;
        memcpy(&source.addr, packet + 12, sizeof source.addr);
        memcpy(&target.addr, packet + 16, sizeof target.addr);
        return ip4_addr_isloopback(&source) || ip4_addr_isloopback(&target) ||
               (!ip4_addr_isany_val(source) && ip4_addr_cmp(&source, netif_ip4_addr(netif)));
    }
    if (kind == ETHTYPE_IPV6 && size >= SIZEOF_ETH_HDR + IP6_HLEN) {
        ip6_addr_t source = {.zone = IP6_NO_ZONE}, target = {.zone = IP6_NO_ZONE};
        memcpy(source.addr, packet + 8, sizeof source.addr);
        memcpy(target.addr, packet + 24, sizeof target.addr);
        ip6_addr_assign_zone(&source, IP6_UNICAST, netif);
        const s8_t own = netif_get_ip6_addr_match(netif, &source);
        return ip6_addr_isloopback(&source) || ip6_addr_isloopback(&target) ||
               (own >= 0 && ip6_addr_isvalid(netif_ip6_addr_state(netif, own)));
    }
    return false;
}

/* A packet may fill its frame but in part, and is kept for as long as nobody reads it: of a frame that is padded to
 * more than twice what it carries, the rest is let go of. NULL: there is no memory. */
static struct pbuf *without_padding(struct pbuf *frame)
{
    const uint8_t *bytes = frame->payload;
    size_t size = frame->len;
    const unsigned kind = (unsigned)bytes[12] << 8 | bytes[13];
    if (kind == ETHTYPE_IP && size >= SIZEOF_ETH_HDR + IP_HLEN)
        size = SIZEOF_ETH_HDR + ((size_t)bytes[SIZEOF_ETH_HDR + 2] << 8 | bytes[SIZEOF_ETH_HDR + 3]);
    else if (kind == ETHTYPE_IPV6 && size >= SIZEOF_ETH_HDR + IP6_HLEN)
        size = SIZEOF_ETH_HDR + IP6_HLEN + ((size_t)bytes[SIZEOF_ETH_HDR + 4] << 8 | bytes[SIZEOF_ETH_HDR + 5]);
    if (size < SIZEOF_ETH_HDR + IP_HLEN || size > frame->len / 2)
        return frame;
    struct pbuf *short_one = pbuf_alloc(PBUF_RAW, (u16_t)size, PBUF_RAM);
    if (short_one)
        pbuf_take(short_one, bytes, (u16_t)size);
    pbuf_free(frame);
    return short_one;
}

FUNCTION(net_input)
{
    (void)module, (void)count;
    struct interface *interface = interface_of(arguments[0]);
    Py_buffer frame;
    if (!interface || PyObject_GetBuffer(arguments[1], &frame, PyBUF_SIMPLE) < 0)
        return NULL;
    struct pbuf *packet = NULL;
    if (frame.len >= 14 && frame.len <= 65535)
        packet = pbuf_alloc(PBUF_RAW, (u16_t)frame.len, PBUF_RAM);
    if (packet)
        pbuf_take(packet, frame.buf, (u16_t)frame.len);
    PyBuffer_Release(&frame);
    if (packet)
        packet = without_padding(packet);
    if (packet && is_of_ourselves(&interface->netif, packet)) {
        pbuf_free(packet);
        packet = NULL;
    }
    if (packet)
        memcpy(&interface->heard, (const char *)packet->payload + sizeof interface->heard, sizeof interface->heard);
    if (packet && interface->netif.input(packet, &interface->netif) != ERR_OK)
        pbuf_free(packet);
    if (PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(packet != NULL);
}

FUNCTION(net_set_up)
{
    (void)module, (void)count;
    struct interface *interface = interface_of(arguments[0]);
    if (!interface)
        return NULL;
    if (PyObject_IsTrue(arguments[1])) {
        netif_set_up(&interface->netif);
        netif_set_link_up(&interface->netif);
    } else {
        netif_set_link_down(&interface->netif);
    }
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* add_address(interface, host, prefix length) */
FUNCTION(net_add_address)
{
    (void)module, (void)count;
    ip_addr_t address;
    struct interface *interface = interface_of(arguments[0]);
    if (!interface || address_of(arguments[1], &address) < 0)
        return NULL;
    unsigned long length = PyLong_AsUnsignedLong(arguments[2]);
    if (PyErr_Occurred())
        return NULL;
    if (IP_IS_V6(&address)) {
        s8_t at;
        err_t error = netif_add_ip6_address(&interface->netif, ip_2_ip6(&address), &at);
        if (error != ERR_OK)
            return raise_error(error);
        netif_ip6_addr_set_state(&interface->netif, at, IP6_ADDR_PREFERRED); /* somebody has chosen it: it is used at once */
    } else {
        ip4_addr_t mask;
        ip4_addr_set_u32(&mask, length ? lwip_htonl(0xFFFFFFFFu << (32 - length)) : 0);
        netif_set_addr(&interface->netif, ip_2_ip4(&address), &mask, netif_ip4_gw(&interface->netif));
    }
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

FUNCTION(net_set_gateway)
{
    (void)module, (void)count;
    ip_addr_t address;
    struct interface *interface = interface_of(arguments[0]);
    if (!interface || address_of(arguments[1], &address) < 0)
        return NULL;
    if (IP_IS_V6(&address)) {
        gateway6 = *ip_2_ip6(&address);
        ip6_addr_assign_zone(&gateway6, IP6_UNICAST, &interface->netif);
        has_gateway6 = true;
    } else {
        netif_set_gw(&interface->netif, ip_2_ip4(&address));
    }
    Py_RETURN_NONE;
}

const ip6_addr_t *shim_gateway6(struct netif *netif, const ip6_addr_t *destination)
{
    (void)netif, (void)destination;
    return has_gateway6 ? &gateway6 : NULL;
}

FUNCTION(net_dhcp)
{
    (void)module, (void)count;
    struct interface *interface = interface_of(arguments[0]);
    if (!interface)
        return NULL;
    err_t error = dhcp_start(&interface->netif);
    if (PyErr_Occurred())
        return NULL;
    if (error != ERR_OK)
        return raise_error(error);
    Py_RETURN_NONE;
}

/* (is up, addresses with prefix lengths, gateways) */
FUNCTION(net_state)
{
    (void)module, (void)count;
    struct interface *interface = interface_of(arguments[0]);
    if (!interface)
        return NULL;
    struct netif *netif = &interface->netif;
    PyObject *addresses = PyList_New(0), *gateways = PyList_New(0);
    if (!addresses || !gateways)
        goto failed;
    if (!ip4_addr_isany_val(*netif_ip4_addr(netif))) {
        unsigned length = (unsigned)__builtin_popcount(netif_ip4_netmask(netif)->addr);
        PyObject *text = PyUnicode_FromFormat("%s/%u", ip4addr_ntoa(netif_ip4_addr(netif)), length);
        if (!text || PyList_Append(addresses, text) < 0)
            goto failed;
        Py_DECREF(text);
    }
    for (int at = 0; at < LWIP_IPV6_NUM_ADDRESSES; at++) {
        if (!ip6_addr_isvalid(netif_ip6_addr_state(netif, at)))
            continue;
        PyObject *host = text_of(netif_ip_addr6(netif, at));
        PyObject *text = host ? PyUnicode_FromFormat("%U/64", host) : NULL;
        Py_XDECREF(host);
        if (!text || PyList_Append(addresses, text) < 0)
            goto failed;
        Py_DECREF(text);
    }
    if (!ip4_addr_isany_val(*netif_ip4_gw(netif))) {
        PyObject *text = PyUnicode_FromString(ip4addr_ntoa(netif_ip4_gw(netif)));
        if (!text || PyList_Append(gateways, text) < 0)
            goto failed;
        Py_DECREF(text);
    }
    return Py_BuildValue("(iNN)", netif_is_up(netif) && netif_is_link_up(netif), addresses, gateways);
failed:
    Py_XDECREF(addresses);
    Py_XDECREF(gateways);
    return NULL;
}

FUNCTION(net_has_address)
{
    (void)module, (void)count;
    ip_addr_t address;
    if (address_of(arguments[0], &address) < 0)
        return NULL;
    if (ip_addr_isany(&address) || ip_addr_isloopback(&address))
        Py_RETURN_TRUE;
    struct netif *netif;
    NETIF_FOREACH(netif)
    {
        if (IP_IS_V6(&address) ? netif_get_ip6_addr_match(netif, ip_2_ip6(&address)) >= 0
                               : ip4_addr_cmp(ip_2_ip4(&address), netif_ip4_addr(netif)))
            Py_RETURN_TRUE;
    }
    Py_RETURN_FALSE;
}

/* --- names ----------------------------------------------------------------------------------------------------- */

static void append(PyObject **list, PyObject *item)
{
    if (!*list)
        *list = PyList_New(0);
    if (*list && item)
        PyList_Append(*list, item);
    Py_XDECREF(item);
}

static void on_name(const char *name, const ip_addr_t *address, void *argument)
{
    (void)name;
    PyObject *host = address ? text_of(address) : Py_NewRef(Py_None);
    append(&resolved, host ? Py_BuildValue("(nN)", (Py_ssize_t)(intptr_t)argument, host) : NULL);
}

/* resolve(name, token): the address, or None: `answers` tells it under this token. */
FUNCTION(net_resolve)
{
    (void)module, (void)count;
    const char *name = PyUnicode_AsUTF8AndSize(arguments[0], NULL);
    Py_ssize_t token = PyLong_AsSsize_t(arguments[1]);
    if (!name || PyErr_Occurred())
        return NULL;
    ip_addr_t address;
    err_t error = dns_gethostbyname_addrtype(name, &address, on_name, (void *)(intptr_t)token, LWIP_DNS_ADDRTYPE_IPV4_IPV6);
    if (PyErr_Occurred())
        return NULL;
    if (error == ERR_OK)
        return text_of(&address);
    if (error == ERR_INPROGRESS)
        Py_RETURN_NONE;
    return raise_error(error);
}

/* --- echo ------------------------------------------------------------------------------------------------------ */

enum { ECHO_ID = 0x5E14 };

static u8_t on_echo(void *argument, struct raw_pcb *pcb, struct pbuf *packet, const ip_addr_t *from)
{
    (void)pcb, (void)from;
    bool is_six = argument != NULL;
    struct icmp_echo_hdr header;
    u16_t at = is_six ? IP6_HLEN : 0;
    if (!is_six) {
        struct ip_hdr ip;
        if (pbuf_copy_partial(packet, &ip, IP_HLEN, 0) != IP_HLEN)
            return 0;
        at = (u16_t)(IPH_HL(&ip) * 4);
    }
    if (pbuf_copy_partial(packet, &header, sizeof header, at) != sizeof header)
        return 0;
    if (header.type != (is_six ? 129 : ICMP_ER) || header.id != lwip_htons(ECHO_ID))
        return 0;
    append(&answers, Py_BuildValue("(iI)", is_six ? 6 : 4, (unsigned)lwip_ntohs(header.seqno)));
    pbuf_free(packet);
    return 1;
}

static struct raw_pcb *echo_pcb(bool is_six)
{
    struct raw_pcb **kept = is_six ? &echo6 : &echo4;
    if (!*kept) {
        *kept = raw_new_ip_type(is_six ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4, is_six ? IP6_NEXTH_ICMP6 : IP_PROTO_ICMP);
        if (*kept) {
            raw_recv(*kept, on_echo, is_six ? *kept : NULL);
            if (is_six) {
                (*kept)->chksum_reqd = 1;
                (*kept)->chksum_offset = 2;
            }
        }
    }
    return *kept;
}

/* ping(host, number, size of the data) */
FUNCTION(net_ping)
{
    (void)module, (void)count;
    ip_addr_t address;
    if (address_of(arguments[0], &address) < 0)
        return NULL;
    unsigned long number = PyLong_AsUnsignedLong(arguments[1]), size = PyLong_AsUnsignedLong(arguments[2]);
    if (PyErr_Occurred())
        return NULL;
    bool is_six = IP_IS_V6(&address);
    struct raw_pcb *pcb = echo_pcb(is_six);
    struct pbuf *packet = NULL;
    if (pcb && size <= 65000)
        packet = pbuf_alloc(PBUF_IP, (u16_t)(sizeof(struct icmp_echo_hdr) + size), PBUF_RAM);
    if (!packet)
        return raise_error(ERR_MEM);
    struct icmp_echo_hdr *header = packet->payload;
    memset(packet->payload, 0x5A, packet->len);
    header->type = is_six ? 128 : ICMP_ECHO;
    header->code = 0;
    header->id = lwip_htons(ECHO_ID);
    header->seqno = lwip_htons((u16_t)number);
    header->chksum = 0;
    if (!is_six)
        header->chksum = inet_chksum(packet->payload, packet->len);
    err_t error = raw_sendto(pcb, packet, &address);
    pbuf_free(packet);
    if (PyErr_Occurred())
        return NULL;
    if (error != ERR_OK)
        return raise_error(error);
    Py_RETURN_NONE;
}

/* (names, echoes) that were answered since the last call, each a list or None */
FUNCTION(net_answers)
{
    (void)module, (void)arguments, (void)count;
    PyObject *names = resolved ? resolved : Py_NewRef(Py_None), *echoes = answers ? answers : Py_NewRef(Py_None);
    resolved = answers = NULL;
    return Py_BuildValue("(NN)", names, echoes);
}
