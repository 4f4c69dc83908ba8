/* How connections come to a socket that listens: half open ones, and cookies for those for whom there is no room.
 *
 * Rules. Half open are as many as the backlog says at most. Who comes when there are no fewer is answered all the same, and
 * nothing is kept (RFC 4987, 3.6): the first sequence number of the answer is a cookie, and who brings it back has heard it,
 * at the address that he gave. It is SipHash-2-4 of both ends, his first sequence number and the time, with a key of the
 * listening socket's own, plus a number that says which of a few segment sizes he has told of; other options than that are
 * neither kept nor offered. So of 2^32 numbers twelve are good at a time. What makes a connection of a cookie is lwIP, as
 * of any that is half open. */
#include "shim.h"

#include <string.h>

#include "lwip/inet_chksum.h"
#include "siphash.h"

enum {
    STEP_MS = 64000, /* a cookie is good in the step of its making, and in the next */
    STEPS = 2,
    SILENT_MS = 4000, /* lwIP has answered the SYN again after 3 s, and for a second nobody has heard it */
    CROWDED_MS = 4000, /* longer than what was sent with an ACK that had no room is on its way */
    MOST_PENDING = MEMP_NUM_TCP_PCB / 2, /* at all listening sockets */
    MSS_OPTION_BYTES = 4,
    LEAST_SIZE = 48, /* of a segment, as Linux has it (tcp_min_snd_mss): a peer that takes a byte at a time costs too much */
    WINDOW = 0xFFFF, /* what lwIP has of it without the option to scale */
};
static const uint16_t sizes[] = {536, 1220, 1440, 1460, 8940, 65460};
enum { SIZES = sizeof sizes / sizeof *sizes };

static struct sock *sock_of(const struct tcp_pcb_listen *listener)
{
    int32_t number = number_of(listener->callback_arg);
    return number < 0 ? NULL : shim_socks[number];
}

/* --- cookies --------------------------------------------------------------------------------------------------- */

static void add_address(uint64_t words[2], const ip_addr_t *address)
{
    if (IP_IS_V6(address))
        memcpy(words, ip_2_ip6(address)->addr, 2 * sizeof *words);
    else
        words[0] = ip_2_ip4(address)->addr;
}

/* Of the segment that lwIP has in hand, by a peer whose first sequence number was `theirs`. */
static uint32_t hash_of(const struct sock *sock, const struct tcp_hdr *header, uint32_t theirs, uint64_t step)
{
    uint64_t words[6] = {0};
    add_address(words, ip_current_src_addr());
    add_address(words + 2, ip_current_dest_addr());
    words[4] = (uint64_t)theirs << 32 | (uint32_t)header->src << 16 | header->dest;
    words[5] = step;
    return (uint32_t)siphash(sock->cookie_key, words, sizeof words / sizeof *words);
}

/* The options that follow a header, the first of them in its own piece. */
struct options {
    uint8_t *first, *second;
    unsigned first_bytes, bytes; /* bytes: of both */
};

static uint8_t *option_byte(const struct options *options, unsigned at)
{
    return at < options->first_bytes ? options->first + at : options->second + (at - options->first_bytes);
}

/* Where a SYN's options tell a segment size, in two bytes; 0 where they tell none. Of several the last counts. */
static unsigned find_size(const struct options *options)
{
    unsigned found = 0;
    for (unsigned at = 0; at + 1 < options->bytes && *option_byte(options, at) != LWIP_TCP_OPT_EOL;) {
        const uint8_t kind = *option_byte(options, at);
        const unsigned bytes = kind == LWIP_TCP_OPT_NOP ? 1 : *option_byte(options, at + 1);
        if (!bytes || bytes > options->bytes - at)
            break;
        if (kind == LWIP_TCP_OPT_MSS && bytes == LWIP_TCP_OPT_LEN_MSS)
            found = at + 2;
        at += bytes;
    }
    return found;
}

/* The greatest of our sizes that is not above what a SYN's options tell, or the least. */
static uint32_t size_index(const struct options *options)
{
    const unsigned at = find_size(options);
    const uint32_t told = at ? (uint32_t)*option_byte(options, at) << 8 | *option_byte(options, at + 1) : sizes[0];
    uint32_t index = 0;
    while (index + 1 < SIZES && sizes[index + 1] <= told)
        index++;
    return index;
}

/* Answer a SYN by a cookie, and keep nothing. */
static void answer(struct sock *sock, const struct tcp_hdr *header, unsigned option_bytes)
{
    uint64_t step = shim_now_ms() / STEP_MS;
    uint32_t index = size_index(&(struct options){(uint8_t *)(header + 1), NULL, option_bytes, option_bytes});
    uint32_t cookie = hash_of(sock, header, header->seqno, step) + index;
    struct pbuf *packet = pbuf_alloc(PBUF_IP, TCP_HLEN + MSS_OPTION_BYTES, PBUF_RAM);
    if (!packet)
        return;
    uint16_t size = tcp_eff_send_mss_netif(TCP_MSS, ip_current_input_netif(), ip_current_src_addr());
    struct tcp_hdr *reply = packet->payload;
    *reply = (struct tcp_hdr){
        .src = lwip_htons(header->dest),
        .dest = lwip_htons(header->src),
        .seqno = lwip_htonl(cookie),
        .ackno = lwip_htonl(header->seqno + 1),
        .wnd = lwip_htons(WINDOW),
    };
    TCPH_HDRLEN_FLAGS_SET(reply, (TCP_HLEN + MSS_OPTION_BYTES) / 4, TCP_SYN | TCP_ACK);
    uint32_t option = lwip_htonl((uint32_t)LWIP_TCP_OPT_MSS << 24 | LWIP_TCP_OPT_LEN_MSS << 16 | size);
    memcpy(reply + 1, &option, sizeof option);
    reply->chksum = ip_chksum_pseudo(packet, IP_PROTO_TCP, packet->tot_len, ip_current_dest_addr(), ip_current_src_addr());
    net_answer(packet);
    pbuf_free(packet);
}

/* The segment size that a cookie of this socket's tells, which the segment in hand brings back; 0 if it brings none. */
static uint16_t size_of_cookie(const struct sock *sock, const struct tcp_hdr *header)
{
    uint64_t step = shim_now_ms() / STEP_MS;
    for (unsigned age = 0; age < STEPS; age++) {
        uint32_t index = header->ackno - 1 - hash_of(sock, header, header->seqno - 1, step - age);
        if (index < SIZES)
            return sizes[index];
    }
    return 0;
}

/* A connection that is half open, as lwIP would have it of the SYN that the cookie has answered (`tcp_listen_input`). */
static bool open_half(struct tcp_pcb_listen *listener, const struct tcp_hdr *header, uint16_t size)
{
    tcp_make_room();
    struct tcp_pcb *pcb = tcp_alloc(listener->prio);
    if (!pcb)
        return false;
    ip_addr_copy(pcb->local_ip, *ip_current_dest_addr());
    ip_addr_copy(pcb->remote_ip, *ip_current_src_addr());
    pcb->local_port = header->dest;
    pcb->remote_port = header->src;
    pcb->netif_idx = listener->netif_idx;
    pcb->so_options = listener->so_options & SOF_INHERITED;
    pcb->callback_arg = listener->callback_arg;
    pcb->listener = listener;
    tcp_backlog_delayed(pcb);
    pcb->state = SYN_RCVD;
    pcb->lastack = pcb->snd_wl2 = header->ackno - 1;
    pcb->snd_nxt = pcb->snd_lbb = header->ackno;
    pcb->snd_wnd = pcb->snd_wnd_max = header->wnd;
    pcb->snd_wl1 = header->seqno - 1; /* so that the segment's window counts */
    pcb->rcv_nxt = header->seqno;
    pcb->rcv_ann_right_edge = pcb->rcv_nxt + pcb->rcv_ann_wnd;
    pcb->mss = tcp_eff_send_mss(size, &pcb->local_ip, &pcb->remote_ip);
    TCP_REG_ACTIVE(pcb);
    return true;
}

/* Have lwIP take the segment in hand once more, as it came. */
static void take_again(struct tcp_hdr *header, struct pbuf *segment)
{
    header->src = lwip_htons(header->src);
    header->dest = lwip_htons(header->dest);
    header->seqno = lwip_htonl(header->seqno);
    header->ackno = lwip_htonl(header->ackno);
    header->wnd = lwip_htons(header->wnd);
    pbuf_ref(segment); /* for who has it in hand and lets go of it */
    tcp_input(segment, ip_current_input_netif());
}

/* There is no room for one who has brought a cookie back: it is dropped, as on its way, and its sender sends again what he
 * has to say. The segments that he has sent behind it bring none, and are dropped as well. */
static err_t turn_away(struct sock *sock)
{
    sock->crowded_until_ms = shim_now_ms() + CROWDED_MS;
    return ERR_MEM;
}

/* An ACK for which there is no connection, or one half open (`other`) whose answer it does not know: it makes one if it
 * brings a cookie back. */
static err_t on_ack(
    struct tcp_pcb_listen *listener, struct tcp_pcb *other, struct tcp_hdr *header, unsigned option_bytes,
    unsigned first_bytes, struct pbuf *segment)
{
    struct sock *sock = sock_of(listener);
    uint16_t size = sock ? size_of_cookie(sock, header) : 0;
    if (!size)
        return sock && shim_now_ms() < sock->crowded_until_ms ? ERR_MEM : ERR_OK; /* lwIP resets it */
    if (other)
        tcp_abandon(other, 0); /* its SYN has come twice: this is what the first one's answer has brought */
    if (listener->accepts_pending >= 2 * sock->backlog || sock->accepted_count >= 2 * sock->backlog)
        return turn_away(sock);
    if (first_bytes != option_bytes || pbuf_add_header(segment, TCP_HLEN + option_bytes) != 0)
        return ERR_BUF; /* in pieces that end amid the header: nobody sends such */
    if (!open_half(listener, header, size))
        return turn_away(sock);
    take_again(header, segment);
    return ERR_ABRT;
}

/* --- half open ones -------------------------------------------------------------------------------------------- */

/* The oldest of those whose SYN a listener has answered, and who have not answered that for a while. */
static struct tcp_pcb *oldest_silent(const struct tcp_pcb_listen *listener)
{
    struct tcp_pcb *oldest = NULL;
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) /* new ones come first */
        if (pcb->state == SYN_RCVD && pcb->listener == listener && (tcp_ticks - pcb->tmr) * TCP_SLOW_INTERVAL >= SILENT_MS &&
            (!oldest || tcp_ticks - pcb->tmr >= tcp_ticks - oldest->tmr))
            oldest = pcb;
    return oldest;
}

/* A flood of many ports leaves connections to others, and to those who bring cookies back. */
static bool has_room(const struct tcp_pcb_listen *listener)
{
    unsigned pending = 0;
    for (const struct tcp_pcb_listen *each = tcp_listen_pcbs.listen_pcbs; each; each = each->next)
        pending += each->accepts_pending;
    return listener->accepts_pending < listener->backlog && pending < MOST_PENDING;
}

/* A SYN. The oldest that has been silent for a while makes room, so that others have their options again soon after a flood.
 * Where nobody accepts it is dropped: a cookie would let its sender think itself connected. */
static err_t on_syn(const struct tcp_pcb_listen *listener, const struct tcp_hdr *header, unsigned option_bytes)
{
    struct sock *sock = sock_of(listener);
    if (!sock || sock->accepted_count >= sock->backlog)
        return ERR_MEM;
    tcp_make_room();
    if (has_room(listener))
        return ERR_OK;
    struct tcp_pcb *oldest = oldest_silent(listener);
    if (oldest)
        tcp_abandon(oldest, 0);
    if (oldest && has_room(listener))
        return ERR_OK;
    answer(sock, header, option_bytes);
    return ERR_MEM;
}

/* What a segment for this PCB is to the socket that listens, if it is something to it. */
static err_t comes(
    struct tcp_pcb *pcb, struct tcp_hdr *header, unsigned option_bytes, unsigned first_bytes, struct pbuf *segment)
{
    if (pcb->state != LISTEN && pcb->state != SYN_RCVD)
        return ERR_OK;
    struct tcp_pcb_listen *listener = pcb->state == LISTEN ? (struct tcp_pcb_listen *)pcb : pcb->listener;
    unsigned flags = TCPH_FLAGS(header) & (TCP_SYN | TCP_ACK | TCP_RST);
    if (pcb->state == LISTEN && flags == TCP_SYN)
        return on_syn(listener, header, first_bytes);
    if (listener && flags == TCP_ACK && (pcb->state == LISTEN || header->ackno != pcb->snd_nxt))
        return on_ack(listener, pcb->state == LISTEN ? NULL : pcb, header, option_bytes, first_bytes, segment);
    return ERR_OK;
}

/* Whether a segment's options count: a SYN's where somebody listens, and the answer's to our own. lwIP would take a
 * segment size of any segment, whatever its sequence number: one larger than the interface's packets, or one smaller than
 * what waits to be sent already, which it ends the process for. */
static bool has_options(const struct tcp_pcb *pcb, const struct tcp_hdr *header)
{
    const unsigned flags = TCPH_FLAGS(header) & (TCP_SYN | TCP_ACK | TCP_RST);
    return pcb->state == LISTEN ||
           (pcb->state == SYN_SENT && flags == (TCP_SYN | TCP_ACK) && header->ackno == pcb->lastack + 1);
}

/* Raise a segment size that the options tell to the least that is used. 0 stays: lwIP takes it for none. */
static void raise_size(const struct options *options)
{
    const unsigned at = find_size(options);
    if (!at || *option_byte(options, at))
        return;
    uint8_t *low = option_byte(options, at + 1);
    if (*low && *low < LEAST_SIZE)
        *low = LEAST_SIZE;
}

/* lwIP's hook: a segment is for this PCB. But for ERR_OK lwIP lets go of the segment, and does not look at the PCB, which
 * may be gone. Of a listener's own segment lwIP looks at no list behind this. */
err_t shim_arrives(
    struct tcp_pcb *pcb, struct tcp_hdr *header, unsigned option_bytes, unsigned first_bytes, uint8_t *second,
    struct pbuf *segment)
{
    const err_t error = comes(pcb, header, option_bytes, first_bytes, segment);
    if (error != ERR_OK)
        return error;
    if (has_options(pcb, header)) {
        raise_size(&(struct options){(uint8_t *)(header + 1), second, first_bytes, option_bytes});
        return ERR_OK;
    }
    memset(header + 1, LWIP_TCP_OPT_NOP, first_bytes);
    if (second)
        memset(second, LWIP_TCP_OPT_NOP, option_bytes - first_bytes);
    return ERR_OK;
}
