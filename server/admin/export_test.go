package admin

import (
	"net/netip"
	"time"
)

// ParseToken returns the tenant whose operator token s says it is.
func ParseToken(s string) (home string, ok bool) { return parseToken(s) }

// MaxVisits bounds the visits that are remembered.
const MaxVisits = maxVisits

// Remember notes a visit that needs no event for as long as it lasts, and returns how many are remembered then.
func (s *Service) Remember(ip netip.Addr, now time.Time, lasts time.Duration) int {
	s.visits.of(visit{from: place(ip)}, now).until = now.Add(lasts)
	return len(s.visits.all)
}
