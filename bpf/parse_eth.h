/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Ethernet II with up to two VLAN tags: IEEE 802.3, 802.1Q, 802.1ad. */
#ifndef XDPDNS_PARSE_ETH_H
#define XDPDNS_PARSE_ETH_H

#include "cursor.h"
#include "outcomes.h"

#define ETH_HEADER  14
#define ETH_TYPE_AT 12
#define VLAN_TAG    4
#define VLAN_DEPTH  2

/* EtherTypes as they stand in memory */
#define ETHERTYPE(x)	 __builtin_bswap16(x)
#define ETHERTYPE_IPV4	 ETHERTYPE(0x0800)
#define ETHERTYPE_IPV6	 ETHERTYPE(0x86dd)
#define ETHERTYPE_8021Q	 ETHERTYPE(0x8100)
#define ETHERTYPE_8021AD ETHERTYPE(0x88a8)

static __always_inline bool is_vlan(u16 ethertype)
{
	return ethertype == ETHERTYPE_8021Q || ethertype == ETHERTYPE_8021AD;
}

/* Moves the cursor to the payload and says what it is. `tags` VLAN tags were taken out of the frame before. */
static __always_inline enum outcome parse_eth(struct cursor *c, u64 tags, u16 *ethertype)
{
	if (!cursor_has(c, ETH_HEADER))
		return END(ETH_TRUNCATED);
	*ethertype = load16(c->pos + ETH_TYPE_AT);
	c->pos += ETH_HEADER;

#pragma unroll
	for (int depth = 0; depth < VLAN_DEPTH; depth++) {
		if (!is_vlan(*ethertype))
			return OUTCOME_GO_ON;
		if (depth + tags >= VLAN_DEPTH)
			return END(VLAN_TOO_DEEP);
		if (!cursor_has(c, VLAN_TAG))
			return END(ETH_TRUNCATED);
		*ethertype = load16(c->pos + 2);
		c->pos += VLAN_TAG;
	}
	return is_vlan(*ethertype) ? END(VLAN_TOO_DEEP) : OUTCOME_GO_ON;
}

#endif
