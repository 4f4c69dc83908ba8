/* The stack as Python has it: sockets by number, and a list of those at which something happened.
 *
 * Rules. One thread. lwIP calls back only from within a call of this module; a callback touches C alone, but for
 * `transmit`, which is told frames and calls nothing here. A socket's PCB is the socket's until one of the two ends: lwIP
 * tells the end of a PCB by its error callback, which takes it from the socket; a socket that ends takes its callbacks
 * from the PCB first. So neither has a pointer to what is gone.
 */
#ifndef SEL4PY_LWIP_SHIM_H
#define SEL4PY_LWIP_SHIM_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/ethip6.h"
#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/nd6.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/raw.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"
#include "netif/ethernet.h"

enum { MOST_SOCKETS = 4096, MOST_NETIFS = 4, MOST_PACKETS = 2048, MOST_MTU = 65520, MOST_DATAGRAMS = 128, MOST_DATAGRAM_BYTES = 512 << 10 };
/* What lwIP counts of a listener's connections is twice its backlog at most, and has eight bits. */
enum { MOST_BACKLOG = 127 };
enum kind { FREE, TCP, LISTENER, UDP };

/* What came in one piece. Not joined to one chain: a chain's length has 16 bits, and a window has more. */
struct packet {
    struct pbuf *data;
    struct packet *next;
};

struct datagram {
    struct pbuf *data;
    ip_addr_t from;
    uint16_t port;
};

struct sock {
    enum kind kind;
    union {
        struct tcp_pcb *tcp; /* also a listener's */
        struct udp_pcb *udp;
        void *any; /* NULL: lwIP has ended it */
    } pcb;
    struct packet *received, *last; /* TCP: not read yet, oldest first */
    size_t received_bytes, received_packets;
    size_t head;                 /* of the first one's first pbuf this much is read already */
    bool ended, connected, connecting, shut, listed;
    bool is_finished; /* the other side has sent its end */
    bool is_wide_in, is_wide_out; /* TCP: the window that way is the large one */
    size_t bytes_in, bytes_out;   /* so much has gone that way while it was not */
    bool is_deaf; /* nobody reads any more: what comes is let go */
    int8_t error;
    int32_t *accepted;           /* LISTENER: sockets that came, oldest first; twice the backlog */
    uint32_t accepted_count, backlog;
    uint64_t cookie_key[2];
    uint64_t crowded_until_ms; /* an ACK with a good cookie had no room: what its sender has sent behind it is not reset */
    struct datagram *datagrams;  /* UDP: a ring */
    uint32_t first, count;
    size_t bytes;
};

extern struct sock *shim_socks[MOST_SOCKETS];

int32_t sock_new(enum kind kind);              /* a number, or -1 */
void sock_free(int32_t number);                /* PCB and all that has come */
void sock_happened(int32_t number);            /* list it for `events` */
struct sock *sock_get(PyObject *number);       /* sets ValueError */
PyObject *raise_error(err_t error);            /* OSError with lwIP's number */
int address_of(PyObject *text, ip_addr_t *address);
PyObject *text_of(const ip_addr_t *address);

/* Of the socket that lwIP's callbacks are told of; -1: none. */
static inline int32_t number_of(void *argument)
{
    return (int32_t)(intptr_t)argument - 1; /* 0 is lwIP's for none */
}

void shares_begin(void);                       /* when the process has its limit of memory */
bool share_holds(size_t bytes);                /* whether a socket may keep so much that nobody has read */
size_t share_to_send(const struct tcp_pcb *pcb); /* bytes that it may take more; 0 only while it has some under way */
bool share_has_pcb(void);                      /* whether another connection can be made */

uint64_t shim_now_ms(void);                     /* of a clock that never goes back */
void net_keep_leases(void);                    /* have them renewed */
void net_forget_servers(void);                 /* what routers have told of, when it is over */
void net_answer(struct pbuf *packet);          /* TCP's, to whom the segment in hand came from; no neighbour is asked for */
bool net_is_quiet(void);                       /* no connection, and no address being asked for */

#define FUNCTION(name) PyObject *name(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
FUNCTION(net_add_interface);
FUNCTION(net_input);
FUNCTION(net_set_up);
FUNCTION(net_add_address);
FUNCTION(net_set_gateway);
FUNCTION(net_dhcp);
FUNCTION(net_state);
FUNCTION(net_set_name_servers);
FUNCTION(net_name_servers);
FUNCTION(net_resolve);
FUNCTION(net_ping);
FUNCTION(net_answers);
FUNCTION(net_has_address);

FUNCTION(tcp_stream);
FUNCTION(tcp_bind_to);
FUNCTION(tcp_connect_to);
FUNCTION(tcp_listen_at);
FUNCTION(tcp_accept_one);
FUNCTION(tcp_send_some);
FUNCTION(tcp_receive_some);
FUNCTION(tcp_shut);
FUNCTION(tcp_prompt);
FUNCTION(tcp_send_again);
FUNCTION(tcp_end);
void tcp_sock_free(int32_t number, struct sock *sock);
void tcp_close_rest(void);
void tcp_make_room(void); /* when connections have run out, the oldest that only waits for its end goes */

FUNCTION(udp_socket);
FUNCTION(udp_bind_to);
FUNCTION(udp_connect_to);
FUNCTION(udp_send_one);
FUNCTION(udp_receive_one);
void udp_sock_free(struct sock *sock);

#endif
