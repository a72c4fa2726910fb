package admin_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/fault"
)

func TestEvents(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "a", "b", "c"))
	n := w.reads(w.svc, "acme")
	for name, row := range map[string]struct {
		q           admin.EventQuery
		first, last int64
	}{
		"all":                    {admin.EventQuery{}, 0, n},
		"the first two":          {admin.EventQuery{Limit: 2}, 0, 2},
		"those after two":        {admin.EventQuery{After: 2, Limit: 1000}, 2, n},
		"the newest":             {admin.EventQuery{After: -1}, n - 1, n},
		"more than there are":    {admin.EventQuery{After: -1000}, 0, n},
		"none that is new":       {admin.EventQuery{After: n}, n, n},
		"beyond the end":         {admin.EventQuery{After: n + 5}, n + 5, n + 5},
		"at once, although wait": {admin.EventQuery{After: n - 1, Wait: admin.MaxWait}, n - 1, n},
	} {
		t.Run(name, func(t *testing.T) {
			list, next, err := w.svc.Events(t.Context(), w.root("acme"), row.q)
			if err != nil || next != row.last || int64(len(list)) != row.last-row.first {
				t.Fatalf("%d events, next %d, %v", len(list), next, err)
			}
			for i, e := range list {
				if e.Index != row.first+int64(i) {
					t.Errorf("event %d has index %d", i, e.Index)
				}
			}
		})
	}
	for _, q := range []admin.EventQuery{{Limit: -1}, {Limit: admin.MaxEvents + 1}, {Wait: -1},
		{Wait: admin.MaxWait + 1}} {
		_, _, err := w.svc.Events(t.Context(), w.root("acme"), q)
		wantKind(t, err, fault.InvalidRequest)
	}
}

func TestEventsWait(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "a"))
	root, n := w.root("acme"), w.reads(w.svc, "acme")
	list, next, err := w.svc.Events(t.Context(), root, admin.EventQuery{After: n, Wait: 3 * time.Second})
	if err != nil || len(list) != 0 || next != n || w.slept != 3*time.Second {
		t.Errorf("%v, %d, %v after %v", list, next, err, w.slept)
	}
	polls := 0
	patient := admin.New(admin.Config{Directory: w.dir, Store: w.store, Log: w.log,
		Sleep: func(ctx context.Context, d time.Duration) error {
			if polls++; polls == 3 {
				w.token("acme", admin.Auditor)
			}
			return ctx.Err()
		}})
	n = w.reads(patient, "acme")
	list, next, err = patient.Events(t.Context(), root, admin.EventQuery{After: n, Wait: admin.MaxWait})
	if err != nil || len(list) != 1 || next != n+1 || polls != 3 {
		t.Errorf("%v, %d, %v after %d polls", list, next, err, polls)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = patient.Events(gone, root, admin.EventQuery{After: n + 1, Wait: admin.MaxWait}); err == nil {
		t.Error("a caller who left was waited for")
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestStopEndsTheWaitOfEvents(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "a"))
	root, polls := w.root("acme"), 0
	var svc *admin.Service
	svc = admin.New(admin.Config{Directory: w.dir, Store: w.store, Log: w.log,
		Sleep: func(context.Context, time.Duration) error {
			if polls++; polls == 3 {
				svc.Stop()
			}
			return nil
		}})
	n := w.reads(svc, "acme")
	for range 2 { // the second one comes after Stop and does not wait at all
		list, next, err := svc.Events(t.Context(), root, admin.EventQuery{After: n, Wait: admin.MaxWait})
		if err != nil || len(list) != 0 || next != n || polls != 3 {
			t.Errorf("%v, %d, %v after %d polls", list, next, err, polls)
		}
	}
}
