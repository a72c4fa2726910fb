package admin

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

// visitEvery is how often a sign-in, or a reading of the log, is recorded of the same operator from the same place.
// Whoever follows a log by asking again and again must not fill it by that.
const visitEvery = time.Hour

// maxVisits bounds what a process remembers. An operator who has more addresses is recorded more often.
const maxVisits = 1 << 14

// visits remembers what of operators was recorded lately by this process.
type visits struct {
	mu  sync.Mutex // guards all, not what it points to
	all map[visit]*recorded
}

// visit is an operator's doing the same thing from the same place.
type visit struct {
	event    string
	log      ledger.Tenant
	operator string
	from     netip.Prefix
}

type recorded struct {
	mu    sync.Mutex // held while an event is recorded: of those who come at once one does it, and the others wait
	until time.Time  // none is needed before
}

// visited records that an operator did what the event is about, durably, before it returns; once in visitEvery.
func (s *Service) visited(ctx context.Context, op Operator, event string) error {
	now := s.cfg.Directory.Now()
	r := s.visits.of(visit{event, op.origin.Tenant, op.id, place(op.ip)}, now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.until) {
		return nil
	}
	if _, err := s.cfg.Log.Append(ctx, op.origin, op.event(event, audit.Change{})); err != nil {
		return err
	}
	r.until = now.Add(visitEvery)
	return nil
}

// of returns what is remembered of a visit. If there are too many it forgets those that are over, or else all.
func (v *visits) of(key visit, now time.Time) *recorded {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r := v.all[key]; r != nil {
		return r
	}
	if len(v.all) >= maxVisits {
		v.forget(now)
	}
	if len(v.all) >= maxVisits || v.all == nil {
		v.all = map[visit]*recorded{}
	}
	r := new(recorded)
	v.all[key] = r
	return r
}

// forget drops what is over. What is being recorded stays.
func (v *visits) forget(now time.Time) {
	for key, r := range v.all {
		if !r.mu.TryLock() {
			continue
		}
		if !now.Before(r.until) {
			delete(v.all, key)
		}
		r.mu.Unlock()
	}
}

// place is where an address is: of IPv6, its network, since a host there has as many addresses as it likes.
func place(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // the zero Prefix of no address
	return p
}
