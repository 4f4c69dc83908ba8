/* lwIP as this stack uses it: one thread, no operating system, the raw interface.
 *
 * Rules: what the other side can make the stack keep is bounded, by the pools and windows below. A frame's length fits
 * in 16 bits, so that an interface's MTU is at most 65520. */

#ifndef LWIPOPTS_H
#define LWIPOPTS_H

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0

/* memory: pbufs by malloc, everything else in pools */
#define MEM_ALIGNMENT 8
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 0
#define MEMP_NUM_TCP_PCB 2048 /* when there are none left, the oldest that waits for its end goes */
#define MEMP_NUM_TCP_PCB_LISTEN 256
#define MEMP_NUM_UDP_PCB 1024
#define MEMP_NUM_RAW_PCB 4
#define MEMP_NUM_TCP_SEG 16384 /* half of them for whoever has few (shares.c) */
#define MEMP_NUM_PBUF 2048
#define MEMP_NUM_REASSDATA 16
#define MEMP_NUM_FRAG_PBUF 256
#define MEMP_NUM_ARP_QUEUE 64
#define MEMP_NUM_ND6_QUEUE 64
#define MEMP_NUM_SYS_TIMEOUT 32
#define PBUF_POOL_SIZE 64 /* those that lwIP itself receives into: none */
#define IP_REASS_MAX_PBUFS 128

/* protocols */
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_ARP 1
#define LWIP_ETHERNET 1
#define LWIP_RAW 1
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_DHCP 1
#define LWIP_DNS 1
/* Groups are for routers of multicast, which our links have none of; their timers would tick ten times a second. */
#define LWIP_IGMP 0
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_SCOPES 1 /* a link-local address leads to an interface by its zone (`address_of`) */
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 2
#define LWIP_ND6_LISTEN_RA 1
#define DHCP_DOES_ARP_CHECK 0
#define IP_REASSEMBLY 1
#define IP_FRAG 1
#define LWIP_IPV6_REASS 1
#define LWIP_IPV6_FRAG 1
#define IPV6_FRAG_COPYHEADER 1 /* a pointer is too long to be kept in the fragment's header */
#define IP_FORWARD 0
#define LWIP_MULTICAST_PING 0
#define LWIP_BROADCAST_PING 0
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_HAVE_LOOPIF 1
#define LWIP_LOOPBACK_MAX_PBUFS 256
#define ARP_TABLE_SIZE 64
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 16
#define LWIP_ND6_NUM_NEIGHBORS 64
#define LWIP_ND6_NUM_DESTINATIONS 64
#define LWIP_IPV6_NUM_ADDRESSES 6
#define DNS_TABLE_SIZE 64
#define DNS_MAX_REQUESTS 64
#define DNS_MAX_SERVERS 4
#define LWIP_DHCP_PROVIDE_DNS_SERVERS 4

/* TCP: windows scaled; these are the largest, which few connections have (stream.c) */
#define TCP_MSS 65480 /* what the interface's MTU leaves of it */
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
#define TCP_WND (4 * 1024 * 1024)
#define TCP_SND_BUF (4 * 1024 * 1024)
#define TCP_SND_QUEUELEN 4096
/* Each second segment is acknowledged with the window it leaves; by itself a window is told of when much is free again. */
#define TCP_WND_UPDATE_THRESHOLD (512 * 1024)
#define TCP_SNDLOWAT 1
#define TCP_SNDQUEUELOWAT 4000
#define TCP_OVERSIZE 1460
#define TCP_OOSEQ_BYTES_LIMIT(pcb) shim_most_bytes_early()
#define TCP_OOSEQ_PBUFS_LIMIT(pcb) shim_most_segments_early()
#define LWIP_TCP_SACK_OUT 1
#define TCP_LISTEN_BACKLOG 1
#define TCP_DEFAULT_LISTEN_BACKLOG 64
#define TCP_TMR_INTERVAL 100 /* ms; what is lost at the end of a burst is sent again after a multiple of it */
#define LWIP_TCP_RTO_TIME 1000
#define TCP_MSL 15000UL
#define LWIP_TCP_KEEPALIVE 1
#define LWIP_RANDOMIZE_INITIAL_LOCAL_PORTS 1
#define SO_REUSE 1
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1 /* they reckon with 16 bits; the shim asserts what matters */

/* interfaces */
#define LWIP_SINGLE_NETIF 0
#define LWIP_NETIF_HOSTNAME 0
#define LWIP_NUM_NETIF_CLIENT_DATA 0
#define ETH_PAD_SIZE 0
#define LWIP_STATS 1 /* of pools: how much of them is in use */
#define MEMP_STATS 1
#define MEM_STATS 0
#define SYS_STATS 0
#define LINK_STATS 0
#define ETHARP_STATS 0
#define IP_STATS 0
#define IPFRAG_STATS 0
#define ICMP_STATS 0
#define UDP_STATS 0
#define TCP_STATS 0
#define IP6_STATS 0
#define IP6_FRAG_STATS 0
#define ICMP6_STATS 0
#define ND6_STATS 0

/* ours: a fast sum, numbers that nobody can guess, memory that is counted, and the IPv6 gateway of the settings */
#include <stddef.h>
#include <stdint.h>
uint16_t shim_checksum(const void *data, int length);
uint32_t shim_random(void);
void *shim_malloc(size_t size);
void *shim_calloc(size_t count, size_t size);
void shim_free(void *memory);
uint32_t shim_most_bytes_early(void);
uint16_t shim_most_segments_early(void);
#define mem_clib_malloc shim_malloc
#define mem_clib_calloc shim_calloc
#define mem_clib_free shim_free
#define LWIP_CHKSUM shim_checksum
#define LWIP_RAND() shim_random()
#define LWIP_HOOK_FILENAME "hooks.h"
#define LWIP_HOOK_TCP_ISN(local, local_port, remote, remote_port) shim_random()
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, option_bytes, first_bytes, second, segment) \
    shim_arrives(pcb, header, option_bytes, first_bytes, second, segment)
#define LWIP_HOOK_ND6_GET_GW(netif, dest) shim_gateway6(netif, dest)

#endif
