package audit_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

func TestRefusalsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, newStore(t))
		start := time.Now().Unix()
		l.Refuse(origin, "client.unknown", netip.MustParseAddr("203.0.113.1"))
		l.Refuse(origin, "subject.signature", netip.MustParseAddr("203.0.113.1"))
		var wg sync.WaitGroup
		for caller := range 10 {
			wg.Go(func() {
				for call := range 1000 {
					reason := []string{"client.unknown", "subject.signature"}[call%2]
					l.Refuse(origin, reason, netip.AddrFrom4([4]byte{192, 0, 2, byte(caller)}))
				}
			})
		}
		wg.Wait()
		time.Sleep(900 * time.Millisecond)
		l.Refuse(origin, "client.unknown", netip.MustParseAddr("198.51.100.1"))
		time.Sleep(time.Second)
		l.Refuse(origin, "client.unknown", netip.MustParseAddr("198.51.100.2"))
		time.Sleep(2 * time.Second)
		counts := map[string][]string{}
		for _, s := range history(t, l)[1:] {
			counts[s.Body.Reason] = append(counts[s.Body.Reason],
				fmt.Sprint(s.Body.Count, " from ", s.Body.Request.IP))
			if s.Name != audit.DenyFlood || s.Body.Outcome != audit.Denied || s.Body.Start < start ||
				s.Body.End < s.Body.Start {
				t.Errorf("got %+v", s)
			}
		}
		want := map[string][]string{
			"client.unknown":    {"5002 from 203.0.113.1", "1 from 198.51.100.2"},
			"subject.signature": {"5001 from 203.0.113.1"},
		}
		if !reflect.DeepEqual(counts, want) {
			t.Errorf("the log counts %v", counts)
		}
	})
}

func TestRefusalsAreCountedOnWhileTheStoreIsDown(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(always(notApplied))
		wantUnavailable(t, appendOnly(l, origin, event("a")))
		for range 1000 {
			l.Refuse(origin, "client.unknown", netip.MustParseAddr("192.0.2.1"))
			time.Sleep(time.Second)
		}
		if got := l.Stats().Queued; got != 0 {
			t.Errorf("%d events pile up", got)
		}
		s.breaks(nil)
		time.Sleep(3 * time.Second)
		all := history(t, l)
		last := all[len(all)-1].Body
		if len(all) != 5 || last.Count != 1000 || last.End-last.Start != 999 {
			t.Errorf("got %v, the last of them %+v", all, last)
		}
		for i := range 200 { // what was not recorded has taken no room
			l.Refuse(origin, fmt.Sprint("reason-", i), netip.MustParseAddr("192.0.2.1"))
		}
		time.Sleep(2 * time.Second)
		if n := len(history(t, l)) - len(all); n != 200 {
			t.Errorf("%d events of 200 refusals", n)
		}
	})
}

func TestACountThatWaitsSurvivesAnOutage(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(always(hang))
		l.Refuse(origin, "client.unknown", netip.MustParseAddr("192.0.2.1"))
		time.Sleep(500 * time.Millisecond)
		go func() { _ = appendOnly(l, origin, event("a")) }()
		time.Sleep(time.Minute)
		s.breaks(nil)
		time.Sleep(3 * time.Second)
		wantHistory(t, l, "writer.start", "before", "a", "a not_released", " client.unknown")
	})
}

// another returns the origin of another tenant.
func another(n int) audit.Origin {
	return audit.Origin{Tenant: ledger.Tenant(fmt.Sprint("tenant-", n)), Issuer: fmt.Sprint("https://sts.example/t/", n)}
}

// TestNobodyFillsALog: ninety minutes of refusals for ninety reasons every second become 240 events and one more every
// three seconds, which count all of them; meanwhile another tenant's refusals are recorded as ever.
func TestNobodyFillsALog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hour, seconds, reasons, quietly = 3600, 5400, 90, 60
		l, quiet := newLog(t, newStore(t)), another(1)
		ip := netip.MustParseAddr("192.0.2.1")
		for second := range seconds {
			for i := range reasons {
				l.Refuse(origin, fmt.Sprint("reason-", i), ip)
			}
			if second%quietly == 0 {
				l.Refuse(quiet, "client.unknown", ip)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(reasons * 3 * time.Second) // as long as it takes until each had its turn
		events := history(t, l)[1:]
		counts := map[string]int64{}
		for i, e := range events {
			counts[e.Body.Reason] += e.Body.Count
			if n := i - 240 - 1200; n >= 0 && e.Issued-events[n].Issued < hour {
				t.Fatalf("%d events within an hour", i-n+1)
			}
			if e.Body.Start > e.Body.End || e.Issued-e.Body.Start > reasons*3+2 {
				t.Fatalf("recorded at %d: %+v", e.Issued, e.Body)
			}
		}
		for i := range reasons {
			if reason := fmt.Sprint("reason-", i); counts[reason] != seconds {
				t.Errorf("%d of %d refusals for %s are counted", counts[reason], seconds, reason)
			}
		}
		others := historyOf(t, l, quiet)[1:]
		for _, e := range others {
			if e.Body.Count != 1 || e.Issued-e.Body.Start > 1 {
				t.Errorf("the other tenant's log has at %d: %+v", e.Issued, e.Body)
			}
		}
		if len(others) != seconds/quietly || l.Stats().Lost != 0 {
			t.Errorf("the other tenant's log has %d events; %d refusals are lost", len(others), l.Stats().Lost)
		}
		time.Sleep(240 * 3 * time.Second) // and it is over
		for range 5 {
			l.Refuse(origin, "client.unknown", ip)
			time.Sleep(time.Second + time.Millisecond)
		}
		if n := len(history(t, l)) - 1 - len(events); n != 5 {
			t.Errorf("five seconds of refusals are %d events", n)
		}
	})
}

// TestNoTenantHidesTheRefusalsOfOthers, although a process records no more than 1024 of such events in a second.
func TestNoTenantHidesTheRefusalsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, newStore(t))
		const tenants, reasons = 20, 100
		for tenant := range tenants {
			for i := range reasons {
				l.Refuse(another(tenant), fmt.Sprint("reason-", i), netip.Addr{})
			}
		}
		l.Refuse(origin, "client.unknown", netip.Addr{})
		count := func() (n int) {
			for tenant := range tenants {
				n += max(len(historyOf(t, l, another(tenant)))-1, 0)
			}
			return n + max(len(history(t, l))-1, 0)
		}
		time.Sleep(time.Second + time.Millisecond)
		if n := count(); n != 1024 {
			t.Errorf("%d events within a second", n)
		}
		time.Sleep(time.Second)
		if n := count(); n != tenants*reasons+1 || l.Stats().Lost != 0 {
			t.Errorf("%d events, %d refusals lost", n, l.Stats().Lost)
		}
	})
}

// TestWhatIsNotRecordedYetIsAtTheEnd, however much that is, with what has more reasons than we have.
func TestWhatIsNotRecordedYetIsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, newStore(t))
		refuse := func() {
			for i := range 3000 {
				l.Refuse(origin, fmt.Sprint("reason-", i), netip.MustParseAddr("192.0.2.1"))
			}
		}
		refuse()
		time.Sleep(time.Second + time.Millisecond)
		if n := len(history(t, l)) - 1; n != 240 {
			t.Errorf("%d events at first", n)
		}
		refuse()
		l.Refuse(audit.Origin{}, "reason-0", netip.MustParseAddr("192.0.2.1"))
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.Refuse(origin, "reason-0", netip.MustParseAddr("192.0.2.1")) // too late
		var sum int64
		seen := map[string]bool{}
		for _, e := range history(t, l)[1:] {
			sum += e.Body.Count
			seen[e.Body.Reason] = true
		}
		if sum != 6000 || len(seen) > 2*256+1 || !seen["other"] || l.Stats().Lost != 2 {
			t.Errorf("%d refusals for %d reasons are counted, %d are lost", sum, len(seen), l.Stats().Lost)
		}
	})
}

func TestARefusalHoldsNoTextOfTheCaller(t *testing.T) {
	l := newLog(t, newStore(t))
	l.Refuse(origin, "Bad password: hunter2", netip.Addr{})
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := history(t, l)
	if b := all[1].Body; b.Reason != "internal" || b.Request.IP.IsValid() {
		t.Errorf("got %+v", b)
	}
}
