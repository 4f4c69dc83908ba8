/* The module: sockets by number, what happened at them, time and randomness. */
#include "shim.h"

#include <malloc.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct sock *shim_socks[MOST_SOCKETS];
static int32_t happened[MOST_SOCKETS];
static int32_t happened_count;
static int32_t next_number;
static bool is_begun;
static uint64_t ahead_ms; /* of the host's clock */

uint64_t shim_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + ahead_ms;
}

u32_t sys_now(void) { return (u32_t)shim_now_ms(); }

uint32_t shim_random(void)
{
    static uint32_t pool[64];
    static unsigned used = 64;
    if (used == 64) {
        size_t have = 0;
        while (have < sizeof pool) {
            ssize_t got = getrandom((char *)pool + have, sizeof pool - have, 0);
            if (got < 0)
                abort(); /* a stack whose numbers can be guessed is worse than none */
            have += (size_t)got;
        }
        used = 0;
    }
    return pool[used++];
}

/* The Internet checksum, not inverted, in the order of the bytes: sums of 32-bit words, 64 bits wide. */
uint16_t shim_checksum(const void *data, int length)
{
    const uint8_t *bytes = data;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    uint32_t words[8], word = 0;
    for (; length >= 32; length -= 32, bytes += 32) {
        memcpy(words, bytes, 32);
        a += (uint64_t)words[0] + words[4];
        b += (uint64_t)words[1] + words[5];
        c += (uint64_t)words[2] + words[6];
        d += (uint64_t)words[3] + words[7];
    }
    a += b + c + d;
    for (; length >= 4; length -= 4, bytes += 4) {
        memcpy(&word, bytes, 4);
        a += word;
    }
    word = 0;
    if (length > 0)
        memcpy(&word, bytes, (size_t)length);
    a += word;
    a = (a & 0xFFFFFFFF) + (a >> 32);
    a = (a & 0xFFFFFFFF) + (a >> 32);
    a = (a & 0xFFFF) + (a >> 16);
    a = (a & 0xFFFF) + (a >> 16);
    return (uint16_t)a;
}

int32_t sock_new(enum kind kind)
{
    for (int32_t tried = 0; tried < MOST_SOCKETS; tried++) {
        int32_t number = next_number;
        next_number = (next_number + 1) % MOST_SOCKETS;
        if (shim_socks[number])
            continue;
        struct sock *sock = calloc(1, sizeof *sock);
        if (!sock)
            return -1;
        sock->kind = kind;
        shim_socks[number] = sock;
        return number;
    }
    return -1;
}

void sock_happened(int32_t number)
{
    struct sock *sock = shim_socks[number];
    if (sock && !sock->listed) {
        sock->listed = true;
        happened[happened_count++] = number; /* a socket is listed once: there is room for all */
    }
}

void sock_free(int32_t number)
{
    struct sock *sock = shim_socks[number];
    if (sock->kind == UDP)
        udp_sock_free(sock);
    else
        tcp_sock_free(number, sock);
    if (sock->listed)
        for (int32_t at = 0; at < happened_count; at++)
            if (happened[at] == number) {
                happened[at] = happened[--happened_count]; /* the list never holds more than there are sockets */
                break;
            }
    free(sock);
    shim_socks[number] = NULL;
}

struct sock *sock_get(PyObject *number)
{
    long found = PyLong_AsLong(number);
    if (found == -1 && PyErr_Occurred())
        return NULL;
    if (found < 0 || found >= MOST_SOCKETS || !shim_socks[found]) {
        PyErr_Format(PyExc_ValueError, "there is no socket %ld", found);
        return NULL;
    }
    return shim_socks[found];
}

PyObject *raise_error(err_t error)
{
    PyObject *arguments = Py_BuildValue("(is)", (int)error, "lwIP");
    if (arguments) {
        PyErr_SetObject(PyExc_OSError, arguments);
        Py_DECREF(arguments);
    }
    return NULL;
}

/* Frames come and go by 64 KiB: memory that was freed is kept for the next ones, else each costs its pages anew. */
enum { KEPT_BYTES = 8 << 20, MAPPED_FROM_BYTES = 1 << 20 };

static void keep_freed_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
#endif
}

static FUNCTION(begin)
{
    (void)module, (void)arguments, (void)count;
    if (is_begun) {
        PyErr_SetString(PyExc_RuntimeError, "a process has one stack");
        return NULL;
    }
    is_begun = true;
    keep_freed_memory();
    lwip_init();
    Py_RETURN_NONE;
}

/* Nagle's algorithm has lwIP keep back the last piece of what it sends until all before is acknowledged, and with that piece
 * its own acknowledgement, which its timer then forgets. Two sides that do so both wait until one sends again what the other
 * has. */
static void acknowledge(void)
{
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
        if (pcb->unsent && pcb->flags & (TF_ACK_DELAY | TF_ACK_NOW) && !tcp_do_output_nagle(pcb))
            tcp_send_empty_ack(pcb);
}

/* lwIP ends the process where it finds that it waits for a window with nothing to send, or with something under way.
 * That is so when what it has to send again, and keeps back for want of a window, is acknowledged after all. */
static void wait_for_no_window(void)
{
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
        if (pcb->persist_backoff && (!pcb->unsent || pcb->unacked)) {
            pcb->persist_backoff = 0;
            if (pcb->unacked && pcb->rtime < 0)
                pcb->rtime = 0;
        }
}

/* Do what is due. Returns the milliseconds to the next timer, and whether those that are left only let things age. */
static FUNCTION(poll_timers)
{
    (void)module, (void)arguments, (void)count;
    tcp_close_rest();
    netif_poll_all();
    acknowledge();
    net_keep_leases();
    wait_for_no_window();
    sys_check_timeouts();
    net_keep_leases();
    net_forget_servers();
    netif_poll_all();
    if (PyErr_Occurred())
        return NULL;
    return Py_BuildValue("(kO)", (unsigned long)sys_timeouts_sleeptime(), net_is_quiet() ? Py_True : Py_False);
}

/* let_go_by(milliseconds): for tests of what takes hours. */
static FUNCTION(let_go_by)
{
    (void)module, (void)count;
    unsigned long milliseconds = PyLong_AsUnsignedLong(arguments[0]);
    if (PyErr_Occurred())
        return NULL;
    ahead_ms += milliseconds;
    Py_RETURN_NONE;
}

static FUNCTION(events)
{
    (void)module, (void)arguments, (void)count;
    if (!happened_count)
        Py_RETURN_NONE;
    PyObject *list = PyList_New(0);
    for (int32_t at = 0; list && at < happened_count; at++) {
        if (happened[at] < 0)
            continue;
        shim_socks[happened[at]]->listed = false;
        PyObject *number = PyLong_FromLong(happened[at]);
        if (!number || PyList_Append(list, number) < 0) {
            Py_XDECREF(number);
            Py_CLEAR(list);
            break;
        }
        Py_DECREF(number);
    }
    happened_count = 0;
    return list;
}

/* (readable, writable, ended, error, was connected) of a socket. */
static FUNCTION(state)
{
    (void)module, (void)count;
    struct sock *sock = sock_get(arguments[0]);
    if (!sock)
        return NULL;
    int readable = 0, writable = 0;
    if (sock->kind == UDP) {
        readable = sock->count > 0;
        writable = 1;
    } else if (sock->kind == LISTENER) {
        readable = sock->accepted_count > 0;
    } else {
        readable = sock->received != NULL || sock->ended || sock->error;
        writable = sock->error ||
                   (sock->connected && !sock->shut && sock->pcb.tcp && share_to_send(sock->pcb.tcp) > 0 &&
                    tcp_sndqueuelen(sock->pcb.tcp) < TCP_SND_QUEUELEN);
    }
    return Py_BuildValue("(iiiii)", readable, writable, sock->ended || sock->error, (int)sock->error, sock->connected);
}

/* ((host, port), (host, port)): here and there. */
static FUNCTION(ends)
{
    (void)module, (void)count;
    struct sock *sock = sock_get(arguments[0]);
    if (!sock)
        return NULL;
    const ip_addr_t *here = NULL, *there = NULL;
    unsigned here_port = 0, there_port = 0;
    if (sock->kind == UDP) {
        here = &sock->pcb.udp->local_ip, here_port = sock->pcb.udp->local_port;
        if (sock->pcb.udp->flags & UDP_FLAGS_CONNECTED)
            there = &sock->pcb.udp->remote_ip, there_port = sock->pcb.udp->remote_port;
    } else if (sock->pcb.tcp) {
        here = &sock->pcb.tcp->local_ip, here_port = sock->pcb.tcp->local_port;
        if (sock->kind == TCP && (sock->connected || sock->connecting))
            there = &sock->pcb.tcp->remote_ip, there_port = sock->pcb.tcp->remote_port;
    }
    PyObject *first = here ? text_of(here) : PyUnicode_FromString("");
    PyObject *second = there ? text_of(there) : PyUnicode_FromString("");
    if (!first || !second) {
        Py_XDECREF(first);
        Py_XDECREF(second);
        return NULL;
    }
    return Py_BuildValue("((NI)(NI))", first, here_port, second, there_port);
}

static FUNCTION(end)
{
    (void)module, (void)count;
    struct sock *sock = sock_get(arguments[0]);
    if (!sock)
        return NULL;
    sock_free((int32_t)PyLong_AsLong(arguments[0]));
    Py_RETURN_NONE;
}

#define METHOD(name, function) {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {
    METHOD("begin", begin),
    METHOD("poll", poll_timers),
    METHOD("let_go_by", let_go_by),
    METHOD("events", events),
    METHOD("state", state),
    METHOD("ends", ends),
    METHOD("end", end),
    METHOD("add_interface", net_add_interface),
    METHOD("input", net_input),
    METHOD("set_up", net_set_up),
    METHOD("add_address", net_add_address),
    METHOD("set_gateway", net_set_gateway),
    METHOD("start_dhcp", net_dhcp),
    METHOD("interface", net_state),
    METHOD("set_name_servers", net_set_name_servers),
    METHOD("name_servers", net_name_servers),
    METHOD("resolve", net_resolve),
    METHOD("ping", net_ping),
    METHOD("answers", net_answers),
    METHOD("has_address", net_has_address),
    METHOD("stream", tcp_stream),
    METHOD("stream_bind", tcp_bind_to),
    METHOD("stream_connect", tcp_connect_to),
    METHOD("listen", tcp_listen_at),
    METHOD("accept", tcp_accept_one),
    METHOD("send", tcp_send_some),
    METHOD("receive", tcp_receive_some),
    METHOD("shutdown", tcp_shut),
    METHOD("set_prompt", tcp_prompt),
    METHOD("send_again", tcp_send_again),
    METHOD("close", tcp_end),
    METHOD("datagrams", udp_socket),
    METHOD("datagrams_bind", udp_bind_to),
    METHOD("datagrams_connect", udp_connect_to),
    METHOD("send_to", udp_send_one),
    METHOD("receive_from", udp_receive_one),
    {0},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "servers.network._lwip", .m_size = -1, .m_methods = methods,
};

__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit__lwip(void)
{
    return PyModule_Create(&definition);
}
