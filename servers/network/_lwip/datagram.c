/* UDP: datagrams that came wait here, and the oldest goes when there are too many. */
#include "shim.h"

static void drop_first(struct sock *sock)
{
    struct datagram *oldest = &sock->datagrams[sock->first];
    sock->bytes -= oldest->data->tot_len;
    pbuf_free(oldest->data);
    sock->first = (sock->first + 1) % MOST_DATAGRAMS;
    sock->count--;
}

static void on_datagram(void *argument, struct udp_pcb *pcb, struct pbuf *data, const ip_addr_t *from, u16_t port)
{
    (void)pcb;
    int32_t number = (int32_t)(intptr_t)argument - 1;
    struct sock *sock = number < 0 ? NULL : shim_socks[number];
    if (!sock) {
        pbuf_free(data);
        return;
    }
    while (sock->count && (sock->count == MOST_DATAGRAMS || sock->bytes + data->tot_len > MOST_DATAGRAM_BYTES ||
                           !share_holds(sock->bytes + data->tot_len)))
        drop_first(sock);
    if (!share_holds(data->tot_len)) {
        pbuf_free(data);
        return;
    }
    sock->datagrams[(sock->first + sock->count) % MOST_DATAGRAMS] =
        (struct datagram){.data = data, .from = *from, .port = port};
    sock->count++;
    sock->bytes += data->tot_len;
    sock_happened(number);
}

void udp_sock_free(struct sock *sock)
{
    while (sock->count)
        drop_first(sock);
    if (sock->pcb.udp)
        udp_remove(sock->pcb.udp);
    free(sock->datagrams);
}

FUNCTION(udp_socket)
{
    (void)module, (void)count;
    long version = PyLong_AsLong(arguments[0]);
    int32_t number = sock_new(UDP);
    if (number < 0)
        return raise_error(ERR_MEM);
    struct sock *sock = shim_socks[number];
    sock->datagrams = calloc(MOST_DATAGRAMS, sizeof *sock->datagrams);
    sock->pcb.udp = udp_new_ip_type(version == 6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_V4);
    if (!sock->datagrams || !sock->pcb.udp) {
        sock_free(number);
        return raise_error(ERR_MEM);
    }
    udp_recv(sock->pcb.udp, on_datagram, (void *)(intptr_t)(number + 1));
    return PyLong_FromLong(number);
}

static struct sock *udp(PyObject *number)
{
    struct sock *sock = sock_get(number);
    if (sock && sock->kind != UDP) {
        raise_error(ERR_ARG);
        return NULL;
    }
    return sock;
}

FUNCTION(udp_bind_to)
{
    (void)module, (void)count;
    ip_addr_t address;
    struct sock *sock = udp(arguments[0]);
    unsigned long port = PyLong_AsUnsignedLong(arguments[2]);
    if (!sock || PyErr_Occurred() || address_of(arguments[1], &address) < 0)
        return NULL;
    err_t error = udp_bind(sock->pcb.udp, &address, (u16_t)port);
    if (error != ERR_OK)
        return raise_error(error);
    Py_RETURN_NONE;
}

FUNCTION(udp_connect_to)
{
    (void)module, (void)count;
    ip_addr_t address;
    struct sock *sock = udp(arguments[0]);
    unsigned long port = PyLong_AsUnsignedLong(arguments[2]);
    if (!sock || PyErr_Occurred() || address_of(arguments[1], &address) < 0)
        return NULL;
    err_t error = udp_connect(sock->pcb.udp, &address, (u16_t)port);
    if (error != ERR_OK)
        return raise_error(error);
    Py_RETURN_NONE;
}

/* send_to(number, data, host or None, port): None sends to where it is connected. */
FUNCTION(udp_send_one)
{
    (void)module, (void)count;
    ip_addr_t address;
    struct sock *sock = udp(arguments[0]);
    if (!sock)
        return NULL;
    unsigned long port = PyLong_AsUnsignedLong(arguments[3]);
    bool is_connected = arguments[2] == Py_None;
    if (PyErr_Occurred() || (!is_connected && address_of(arguments[2], &address) < 0))
        return NULL;
    Py_buffer data;
    if (PyObject_GetBuffer(arguments[1], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    err_t error = ERR_MEM;
    struct pbuf *packet = data.len > 65507 ? NULL : pbuf_alloc(PBUF_TRANSPORT, (u16_t)data.len, PBUF_RAM);
    if (packet) {
        pbuf_take(packet, data.buf, (u16_t)data.len);
        error = is_connected ? udp_send(sock->pcb.udp, packet) : udp_sendto(sock->pcb.udp, packet, &address, (u16_t)port);
        pbuf_free(packet);
    }
    PyBuffer_Release(&data);
    if (PyErr_Occurred())
        return NULL;
    if (error != ERR_OK)
        return raise_error(error);
    Py_RETURN_NONE;
}

FUNCTION(udp_receive_one)
{
    (void)module, (void)count;
    struct sock *sock = udp(arguments[0]);
    if (!sock)
        return NULL;
    if (!sock->count)
        Py_RETURN_NONE;
    struct datagram *oldest = &sock->datagrams[sock->first];
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, oldest->data->tot_len);
    PyObject *host = text_of(&oldest->from);
    if (!bytes || !host) {
        Py_XDECREF(bytes);
        Py_XDECREF(host);
        return NULL;
    }
    pbuf_copy_partial(oldest->data, PyBytes_AsString(bytes), oldest->data->tot_len, 0);
    PyObject *found = Py_BuildValue("(NNI)", bytes, host, (unsigned)oldest->port);
    drop_first(sock);
    return found;
}
