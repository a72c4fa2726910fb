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
		for range 100 {
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
		if len(all) != 5 || last.Count != 100 || last.End-last.Start != 99 {
			t.Errorf("got %v, the last of them %+v", all, last)
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

func TestKindsOfRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, newStore(t))
		for i := range 3000 {
			l.Refuse(origin, fmt.Sprint("reason-", i), netip.MustParseAddr("192.0.2.1"))
		}
		l.Refuse(audit.Origin{}, "reason-0", netip.MustParseAddr("192.0.2.1"))
		time.Sleep(2 * time.Second)
		recorded := len(history(t, l)) - 1
		if lost := l.Stats().Lost; recorded != 1024 || lost != 3001-1024 {
			t.Errorf("%d recorded, %d lost", recorded, lost)
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
