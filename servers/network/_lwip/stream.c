/* TCP. */
#include "shim.h"

#include <string.h>

enum { MOST_CLOSING = MOST_SOCKETS };
static struct tcp_pcb *closing[MOST_CLOSING]; /* for which lwIP had no memory to close them */
static unsigned closing_count;

/* Windows, each way. A connection begins with the usual one, and gets the wide one when much has gone that way: what is
 * on its way covers more of what waits on each of a system's many stations. As many directions as may have it at one time
 * bound what all connections can make the stack keep. Not where segments are small: queues on the way have room for some
 * hundreds of frames, and drop what is more. */
enum { USUAL_WINDOW = 1 << 20, WIDE_WINDOW = TCP_WND, WIDE_AFTER = 2 << 20, WIDE_SEGMENT = 8192, MOST_WIDE = 8 };
_Static_assert(TCP_SND_BUF == TCP_WND, "a wide window is as wide both ways");
static unsigned wide_count;

static void begin_windows(struct tcp_pcb *pcb)
{
    if (pcb->rcv_wnd > USUAL_WINDOW) {
        /* Its SYN has told the other side of 64 KiB at most, whatever lwIP takes itself to have said. */
        pcb->rcv_wnd = pcb->rcv_ann_wnd = USUAL_WINDOW;
        pcb->rcv_ann_right_edge = pcb->rcv_nxt + USUAL_WINDOW;
    }
    pcb->snd_buf -= WIDE_WINDOW - USUAL_WINDOW;
}

/* Whether a direction in which so much has gone since `bytes` gets the wide window now. */
static bool widens(const struct tcp_pcb *pcb, bool *is_wide, size_t *bytes, size_t more)
{
    if (*is_wide || pcb->mss < WIDE_SEGMENT || TCP_WND_MAX(pcb) <= USUAL_WINDOW || (*bytes += more) < WIDE_AFTER || wide_count == MOST_WIDE)
        return false;
    wide_count++;
    return *is_wide = true;
}

/* Of a connection that is no socket's any more: how much of it was acknowledged when it was last looked at, and how
 * many times in a row that was no more than before. */
enum { LOOK_TICKS = 50, MOST_LOOKS = 12 }; /* every 10 s, for two minutes */
_Static_assert(LOOK_TICKS * TCP_SLOW_INTERVAL == 10000, "lwIP counts in its slow timer's ticks");
_Static_assert(sizeof(void *) == 8, "both are kept in a pointer");

static void *looked(uint32_t acknowledged, uint64_t times) { return (void *)(uintptr_t)(times << 32 | acknowledged); }

static bool has_bytes(const struct tcp_seg *segment) { return segment && segment->len; }

/* A peer that takes nothing more could keep it for ever by a window of no bytes: it is broken off. While there are
 * bytes to deliver lwIP is not to give it up for the time that has passed since its other side has ended. */
static err_t on_look(void *argument, struct tcp_pcb *pcb)
{
    const uint64_t before = (uintptr_t)argument;
    if (!has_bytes(pcb->unsent) && !has_bytes(pcb->unacked))
        return ERR_OK;
    const uint64_t times = pcb->lastack == (uint32_t)before ? (before >> 32) + 1 : 0;
    if (times >= MOST_LOOKS) {
        tcp_abort(pcb);
        return ERR_ABRT;
    }
    pcb->tmr = tcp_ticks;
    tcp_arg(pcb, looked(pcb->lastack, times));
    return ERR_OK;
}

static void part(struct tcp_pcb *pcb)
{
    tcp_arg(pcb, looked(pcb->lastack, 0));
    tcp_err(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_poll(pcb, on_look, LOOK_TICKS);
}

void tcp_make_room(void)
{
    struct tcp_pcb *oldest = NULL;
    if (share_has_pcb() || tcp_tw_pcbs)
        return; /* or lwIP makes room itself */
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) /* new ones come first */
        if (pcb->poll == on_look)
            oldest = pcb;
    if (oldest)
        tcp_abort(oldest);
}

/* Both sides have sent their end: the PCB only waits, and lwIP will free it without a word. */
static void let_go(struct sock *sock)
{
    part(sock->pcb.tcp);
    sock->pcb.tcp = NULL;
}

static err_t on_receive(void *argument, struct tcp_pcb *pcb, struct pbuf *data, err_t error)
{
    (void)error;
    int32_t number = number_of(argument);
    struct sock *sock = number < 0 ? NULL : shim_socks[number];
    if (!sock) {
        if (data)
            pbuf_free(data);
        return ERR_OK;
    }
    if (!data) {
        sock->ended = sock->is_finished = true;
        if (sock->shut)
            let_go(sock);
    } else if (sock->is_deaf) {
        tcp_recved(pcb, data->tot_len);
        pbuf_free(data);
    } else if (sock->received_packets == MOST_PACKETS || !share_holds(sock->received_bytes + data->tot_len)) {
        return ERR_MEM; /* many small ones would keep much more than the window says: lwIP comes again */
    } else {
        struct packet *packet = malloc(sizeof *packet);
        if (!packet)
            return ERR_MEM; /* lwIP keeps it and comes again */
        *packet = (struct packet){.data = data};
        if (sock->received)
            sock->last->next = packet;
        else
            sock->received = packet;
        sock->last = packet;
        sock->received_bytes += data->tot_len;
        sock->received_packets++;
    }
    sock_happened(number);
    return ERR_OK;
}

static err_t on_sent(void *argument, struct tcp_pcb *pcb, u16_t length)
{
    (void)pcb, (void)length;
    if (number_of(argument) >= 0)
        sock_happened(number_of(argument));
    return ERR_OK;
}

static err_t on_connected(void *argument, struct tcp_pcb *pcb, err_t error)
{
    (void)error;
    struct sock *sock = shim_socks[number_of(argument)];
    sock->connected = true;
    sock->connecting = false;
    begin_windows(pcb);
    sock_happened(number_of(argument));
    return ERR_OK;
}

static void on_error(void *argument, err_t error)
{
    int32_t number = number_of(argument);
    struct sock *sock = number < 0 ? NULL : shim_socks[number];
    if (!sock)
        return;
    sock->pcb.any = NULL; /* lwIP has freed it */
    sock->error = error;
    sock_happened(number);
}

static void join(struct tcp_pcb *pcb, int32_t number)
{
    tcp_arg(pcb, (void *)(intptr_t)(number + 1));
    tcp_recv(pcb, on_receive);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_error);
}

static err_t on_accept(void *argument, struct tcp_pcb *pcb, err_t error)
{
    int32_t at = number_of(argument);
    struct sock *listener = at < 0 ? NULL : shim_socks[at];
    if (!listener || error != ERR_OK || !pcb)
        return ERR_VAL;
    int32_t number = listener->accepted_count < 2 * listener->backlog ? sock_new(TCP) : -1;
    if (number < 0)
        return ERR_MEM; /* lwIP aborts the connection */
    struct sock *sock = shim_socks[number];
    sock->pcb.tcp = pcb;
    sock->connected = true;
    begin_windows(pcb);
    join(pcb, number);
    tcp_backlog_delayed(pcb);
    listener->accepted[listener->accepted_count++] = number;
    sock_happened(at);
    return ERR_OK;
}

/* Bytes that came and were not read are let go; lwIP then resets instead of closing, as TCP wants it. */
static void close_pcb(struct tcp_pcb *pcb)
{
    part(pcb);
    if (pcb->state != LISTEN)
        pcb->rcv_wnd = TCP_WND_MAX(pcb); /* all is read: what a smaller window lacks of it are no bytes */
    if (tcp_close(pcb) != ERR_OK)
        closing[closing_count++] = pcb;
}

void tcp_close_rest(void)
{
    unsigned count = closing_count;
    closing_count = 0;
    for (unsigned at = 0; at < count; at++)
        if (tcp_close(closing[at]) != ERR_OK)
            closing[closing_count++] = closing[at];
}

static void end_pcb(struct sock *sock, bool break_off)
{
    struct tcp_pcb *pcb = sock->pcb.tcp;
    sock->pcb.tcp = NULL;
    if (!pcb)
        return;
    if (sock->kind == LISTENER) {
        tcp_arg(pcb, NULL);
        tcp_close(pcb); /* a listener's never fails */
    } else if (break_off || sock->received || closing_count == MOST_CLOSING) {
        part(pcb);
        tcp_abort(pcb);
    } else {
        close_pcb(pcb);
    }
}

void tcp_sock_free(int32_t number, struct sock *sock)
{
    (void)number;
    wide_count -= (unsigned)sock->is_wide_in + (unsigned)sock->is_wide_out;
    end_pcb(sock, true);
    while (sock->received) {
        struct packet *packet = sock->received;
        sock->received = packet->next;
        pbuf_free(packet->data);
        free(packet);
    }
    for (uint32_t at = 0; at < sock->accepted_count; at++)
        sock_free(sock->accepted[at]);
    free(sock->accepted);
}

FUNCTION(tcp_stream)
{
    (void)module, (void)count;
    long version = PyLong_AsLong(arguments[0]);
    int32_t number = sock_new(TCP);
    if (number < 0)
        return raise_error(ERR_MEM);
    tcp_make_room();
    struct tcp_pcb *pcb = tcp_new_ip_type(version == 6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4);
    if (!pcb) {
        free(shim_socks[number]);
        shim_socks[number] = NULL;
        return raise_error(ERR_MEM);
    }
    ip_set_option(pcb, SOF_REUSEADDR);
    shim_socks[number]->pcb.tcp = pcb;
    join(pcb, number);
    return PyLong_FromLong(number);
}

static struct sock *live(PyObject *number)
{
    struct sock *sock = sock_get(number);
    if (sock && !sock->pcb.any) {
        raise_error(sock->error ? (err_t)sock->error : (err_t)ERR_CLSD);
        return NULL;
    }
    return sock;
}

static int end_of(PyObject *const *arguments, ip_addr_t *address, unsigned *port)
{
    *port = (unsigned)PyLong_AsUnsignedLong(arguments[1]);
    if (PyErr_Occurred())
        return -1;
    return address_of(arguments[0], address);
}

FUNCTION(tcp_bind_to)
{
    (void)module, (void)count;
    ip_addr_t address;
    unsigned port;
    struct sock *sock = live(arguments[0]);
    if (!sock || end_of(arguments + 1, &address, &port) < 0)
        return NULL;
    err_t error = tcp_bind(sock->pcb.tcp, &address, (u16_t)port);
    if (error != ERR_OK)
        return raise_error(error);
    Py_RETURN_NONE;
}

/* Whether it is the address of one host: at no other can anybody answer (RFC 1122, 4.2.3.10), and all were asked. */
static bool is_of_one(const ip_addr_t *address)
{
    if (ip_addr_isany(address) || ip_addr_ismulticast(address))
        return false;
    return IP_IS_V6(address) || !netif_default || !ip4_addr_isbroadcast(ip_2_ip4(address), netif_default);
}

FUNCTION(tcp_connect_to)
{
    (void)module, (void)count;
    ip_addr_t address;
    unsigned port;
    struct sock *sock = live(arguments[0]);
    if (!sock || end_of(arguments + 1, &address, &port) < 0)
        return NULL;
    if (sock->kind != TCP || sock->connected || sock->connecting)
        return raise_error(ERR_ISCONN);
    if (!is_of_one(&address))
        return raise_error(ERR_RTE);
    err_t error = tcp_connect(sock->pcb.tcp, &address, (u16_t)port, on_connected);
    if (error != ERR_OK)
        return raise_error(error);
    sock->connecting = true;
    Py_RETURN_NONE;
}

/* Whether another listens at this port and an address that both would hear. lwIP refuses the same address alone, so that
 * who listens at one of the interface's would get what comes to another's socket that listens at all. */
static bool is_listened_at(const struct tcp_pcb *pcb)
{
    const ip_addr_t *ours = &pcb->local_ip;
    for (const struct tcp_pcb_listen *each = tcp_listen_pcbs.listen_pcbs; each; each = each->next) {
        const ip_addr_t *theirs = &each->local_ip;
        if (each->local_port == pcb->local_port && IP_GET_TYPE(theirs) == IP_GET_TYPE(ours) &&
            (ip_addr_isany(theirs) || ip_addr_isany(ours) || ip_addr_cmp(theirs, ours)))
            return true;
    }
    return false;
}

FUNCTION(tcp_listen_at)
{
    (void)module, (void)count;
    struct sock *sock = live(arguments[0]);
    if (!sock)
        return NULL;
    long backlog = PyLong_AsLong(arguments[1]);
    if (sock->kind != TCP || sock->connected || sock->connecting)
        return raise_error(ERR_ISCONN);
    if (backlog < 1 || backlog > MOST_BACKLOG)
        backlog = backlog < 1 ? 1 : MOST_BACKLOG;
    struct tcp_pcb *pcb = sock->pcb.tcp;
    if (!pcb->local_port) { /* lwIP would listen at port 0 */
        err_t bound = tcp_bind(pcb, &pcb->local_ip, 0);
        if (bound != ERR_OK)
            return raise_error(bound);
    }
    if (is_listened_at(pcb))
        return raise_error(ERR_USE);
    int32_t *accepted = calloc(2 * (size_t)backlog, sizeof *accepted);
    err_t error = ERR_MEM;
    struct tcp_pcb *listening = NULL;
    if (accepted)
        listening = tcp_listen_with_backlog_and_err(sock->pcb.tcp, (u8_t)backlog, &error);
    if (!listening) {
        free(accepted);
        return raise_error(error);
    }
    sock->kind = LISTENER; /* lwIP has freed the former PCB */
    sock->pcb.tcp = listening;
    sock->accepted = accepted;
    sock->backlog = (uint32_t)backlog;
    for (unsigned at = 0; at < 2; at++)
        sock->cookie_key[at] = (uint64_t)shim_random() << 32 | shim_random();
    tcp_arg(listening, (void *)(intptr_t)(PyLong_AsLong(arguments[0]) + 1));
    tcp_accept(listening, on_accept);
    Py_RETURN_NONE;
}

FUNCTION(tcp_accept_one)
{
    (void)module, (void)count;
    struct sock *sock = sock_get(arguments[0]);
    if (!sock)
        return NULL;
    if (!sock->accepted_count)
        Py_RETURN_NONE;
    int32_t number = sock->accepted[0];
    memmove(sock->accepted, sock->accepted + 1, --sock->accepted_count * sizeof *sock->accepted);
    if (shim_socks[number]->pcb.tcp)
        tcp_backlog_accepted(shim_socks[number]->pcb.tcp);
    return PyLong_FromLong(number);
}

FUNCTION(tcp_send_some)
{
    (void)module, (void)count;
    struct sock *sock = live(arguments[0]);
    if (!sock)
        return NULL;
    if (sock->kind != TCP || !sock->connected)
        return raise_error(ERR_CONN);
    if (sock->shut)
        return raise_error(ERR_CLSD);
    Py_buffer data;
    if (PyObject_GetBuffer(arguments[1], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    struct tcp_pcb *pcb = sock->pcb.tcp;
    /* Of whom no window is known, lwIP makes segments as long as they may be, and ends the process when it then hears of
     * a window that is less than twice as wide as one that waits. */
    if (pcb->snd_wnd_max < 2)
        pcb->snd_wnd_max = 2 * (tcpwnd_size_t)pcb->mss;
    size_t sent = 0;
    while (sent < (size_t)data.len) {
        size_t part = (size_t)data.len - sent, room = share_to_send(pcb);
        part = part < room ? part : room;
        part = part < 0x8000 ? part : 0x8000;
        if (!part)
            break;
        err_t error = tcp_write(pcb, (const char *)data.buf + sent, (u16_t)part, TCP_WRITE_FLAG_COPY);
        if (error != ERR_OK)
            break; /* out of queue or memory: what was taken is on its way, and acknowledgements make room */
        sent += part;
    }
    PyBuffer_Release(&data);
    if (widens(pcb, &sock->is_wide_out, &sock->bytes_out, sent)) {
        pcb->snd_buf += WIDE_WINDOW - USUAL_WINDOW;
        sock_happened((int32_t)PyLong_AsLong(arguments[0]));
    }
    tcp_output(pcb);
    if (PyErr_Occurred())
        return NULL;
    return PyLong_FromSize_t(sent);
}

FUNCTION(tcp_receive_some)
{
    (void)module, (void)count;
    struct sock *sock = sock_get(arguments[0]);
    if (!sock)
        return NULL;
    Py_ssize_t wanted = PyLong_AsSsize_t(arguments[1]);
    if (wanted < 0)
        return PyErr_Occurred() ? NULL : raise_error(ERR_ARG);
    if (!sock->received) {
        if (sock->ended)
            return PyBytes_FromStringAndSize("", 0);
        if (sock->error)
            return raise_error((err_t)sock->error);
        Py_RETURN_NONE;
    }
    size_t size = sock->received_bytes < (size_t)wanted ? sock->received_bytes : (size_t)wanted, done = 0;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (!bytes)
        return NULL;
    char *target = PyBytes_AsString(bytes);
    while (done < size) {
        struct packet *packet = sock->received;
        struct pbuf *first = packet->data;
        size_t part = first->len - sock->head;
        part = part < size - done ? part : size - done;
        memcpy(target + done, (const char *)first->payload + sock->head, part);
        done += part;
        sock->head += part;
        if (sock->head == first->len) {
            struct pbuf *rest = first->next;
            if (rest)
                pbuf_ref(rest);
            pbuf_free(first);
            packet->data = rest;
            sock->head = 0;
            if (!rest) {
                sock->received = packet->next;
                sock->received_packets--;
                free(packet);
            }
        }
    }
    sock->received_bytes -= size;
    size_t read = size;
    if (sock->pcb.tcp && widens(sock->pcb.tcp, &sock->is_wide_in, &sock->bytes_in, size))
        read += WIDE_WINDOW - USUAL_WINDOW;
    for (size_t left = read; left && sock->pcb.tcp;) {
        u16_t part = (u16_t)(left < 0xFFFF ? left : 0xFFFF);
        tcp_recved(sock->pcb.tcp, part);
        left -= part;
    }
    if (PyErr_Occurred())
        Py_CLEAR(bytes);
    return bytes;
}

static void drop_received(struct sock *sock)
{
    while (sock->received) {
        struct packet *packet = sock->received;
        sock->received = packet->next;
        pbuf_free(packet->data);
        free(packet);
    }
    sock->received_packets = sock->received_bytes = sock->head = 0;
}

static void stop_hearing(struct sock *sock)
{
    for (size_t left = sock->received_bytes; left;) {
        u16_t part = (u16_t)(left < 0xFFFF ? left : 0xFFFF);
        tcp_recved(sock->pcb.tcp, part);
        left -= part;
    }
    drop_received(sock);
    sock->ended = sock->is_deaf = true;
}

FUNCTION(tcp_shut)
{
    (void)module, (void)count;
    struct sock *sock = live(arguments[0]);
    if (!sock)
        return NULL;
    int receive = PyObject_IsTrue(arguments[1]), send = PyObject_IsTrue(arguments[2]);
    if (sock->kind != TCP || !sock->connected)
        return raise_error(ERR_CONN);
    if (receive)
        stop_hearing(sock);
    if (send && !sock->shut) {
        /* Never both: lwIP would free the PCB, and what still comes would be answered by a reset. */
        err_t error = tcp_shutdown(sock->pcb.tcp, 0, 1);
        if (error != ERR_OK)
            return raise_error(error);
        sock->shut = true;
        if (sock->is_finished && sock->pcb.tcp)
            let_go(sock);
    }
    Py_RETURN_NONE;
}

FUNCTION(tcp_prompt)
{
    (void)module, (void)count;
    struct sock *sock = live(arguments[0]);
    if (!sock)
        return NULL;
    if (sock->kind == TCP) {
        if (PyObject_IsTrue(arguments[1]))
            tcp_nagle_disable(sock->pcb.tcp);
        else
            tcp_nagle_enable(sock->pcb.tcp);
    }
    Py_RETURN_NONE;
}

/* close(number): what was sent is still delivered. The number is nobody's afterwards. */
FUNCTION(tcp_end)
{
    (void)module, (void)count;
    struct sock *sock = sock_get(arguments[0]);
    if (!sock)
        return NULL;
    if (sock->kind != UDP)
        end_pcb(sock, false);
    sock_free((int32_t)PyLong_AsLong(arguments[0]));
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* What was on its way is lost, by no fault of the network's: send it again now, and as much of it at once as before. */
FUNCTION(tcp_send_again)
{
    (void)module, (void)arguments, (void)count;
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
        if (tcp_rexmit_rto_prepare(pcb) == ERR_OK) {
            pcb->rtime = 0;
            tcp_output(pcb);
        }
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}
