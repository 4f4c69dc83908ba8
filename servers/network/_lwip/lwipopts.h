/* What of lwIP is built, and how large it may grow. One thread calls it (NO_SYS). All memory is malloc's: the process's
 * own limit bounds it, and what cannot be had is an error of one connection. What the other side can make it keep is
 * bounded by the windows and queues below. */
#ifndef SEL4PY_LWIPOPTS_H
#define SEL4PY_LWIPOPTS_H

#include <stdint.h>

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_STATS 0

#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT 8
#define PBUF_POOL_SIZE 64 /* lwIP's own answers; what comes in is of malloc */
#define IP_REASS_MAX_PBUFS 128

#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_ARP 1
#define LWIP_ETHERNET 1
#define LWIP_RAW 1
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_DHCP 1
#define LWIP_DNS 1
#define LWIP_IPV6_MLD 1
#define LWIP_IPV6_AUTOCONFIG 1
#define DHCP_DOES_ARP_CHECK 0
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 2
#define IP_REASSEMBLY 1
#define IP_FRAG 1
#define IP_FORWARD 0
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_HAVE_LOOPIF 1
#define LWIP_LOOPBACK_MAX_PBUFS 256
#define ARP_TABLE_SIZE 64
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 64
#define LWIP_ND6_QUEUEING 1
#define LWIP_ND6_NUM_NEIGHBORS 64
#define LWIP_ND6_NUM_DESTINATIONS 64
#define LWIP_IPV6_NUM_ADDRESSES 6
#define DNS_TABLE_SIZE 64
#define DNS_MAX_REQUESTS 64
#define DNS_MAX_SERVERS 4
#define LWIP_DHCP_PROVIDE_DNS_SERVERS 4
#define SO_REUSE 1

/* A segment fills the interface's MTU, whatever that is (TCP_CALCULATE_EFF_SEND_MSS); this is only its bound, and lwIP's
 * own arithmetic of 16 bits has none larger. */
#define TCP_MSS 16000
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 5
#define TCP_WND (1024 * 1024)
#define TCP_SND_BUF (1024 * 1024)
#define TCP_SND_QUEUELEN 4096
#define TCP_SNDLOWAT 1024
#define TCP_SNDQUEUELOWAT 4000
#define MEMP_NUM_TCP_SEG 8192
#define MEMP_NUM_TCP_PCB 2048
#define MEMP_NUM_SYS_TIMEOUT 32
#define TCP_OVERSIZE 1460
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES (1024 * 1024)
#define TCP_OOSEQ_MAX_PBUFS 1024
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 1
#define TCP_MSL 15000UL
#define LWIP_TCP_RTO_TIME 1000
#define LWIP_RANDOMIZE_INITIAL_LOCAL_PORTS 1

/* Ours: a fast sum, numbers that nobody can guess, and the IPv6 gateway of the settings. */
uint16_t shim_checksum(const void *data, int length);
#define LWIP_CHKSUM shim_checksum
#define LWIP_HOOK_FILENAME "hooks.h"
#define LWIP_HOOK_TCP_ISN(local, local_port, remote, remote_port) shim_random()
#define LWIP_HOOK_ND6_GET_GW(netif, dest) shim_gateway6(netif, dest)

#endif
