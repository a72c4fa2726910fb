package admin_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// visit signs the holder of a token in at acme from an address, and reads the log if that is wanted.
func visit(w *world, svc *admin.Service, token, ip string, read bool) error {
	c := admin.Credentials{Tenant: "acme", Token: token}
	if ip != "" {
		c.IP = netip.MustParseAddr(ip)
	}
	op, err := svc.Authenticate(w.t.Context(), c)
	if err == nil && read {
		_, _, err = svc.Events(w.t.Context(), op, admin.EventQuery{})
	}
	return err
}

// visits returns what acme's log has of the visits of an operator.
func (w *world) visits(id string) (all []record) {
	for _, r := range w.everything(w.id("acme")) {
		if r.Body.Operator.ID == id && (r.Name == audit.AuthAdmin || r.Name == audit.AuditRead) {
			all = append(all, r)
		}
	}
	return all
}

func TestAVisitIsRecordedOnceAnHourFromEachPlace(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	token, made, err := w.svc.CreateOperator(t.Context(), w.root("acme"), admin.Auditor, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other := w.start()
	for _, step := range []struct {
		what, ip string
		svc      *admin.Service
		after    time.Duration
		want     string // names of the events
	}{
		{"the first", "192.0.2.1", w.svc, 0, "auth.admin audit.read"},
		{"the same again", "192.0.2.1", w.svc, 0, ""},
		{"the same in another spelling", "::ffff:192.0.2.1", w.svc, 0, ""},
		{"another address", "192.0.2.2", w.svc, 0, "auth.admin audit.read"},
		{"an IPv6 address", "2001:db8:0:1::1", w.svc, 0, "auth.admin audit.read"},
		{"another one of its network", "2001:db8:0:1::2", w.svc, 0, ""},
		{"another network", "2001:db8:0:2::1", w.svc, 0, "auth.admin audit.read"},
		{"no address", "", w.svc, 0, "auth.admin audit.read"},
		{"another process", "192.0.2.1", other.svc, 0, "auth.admin audit.read"},
		{"within the hour", "192.0.2.1", w.svc, time.Hour - time.Second, ""},
		{"after the hour", "192.0.2.1", w.svc, time.Second, "auth.admin audit.read"},
		{"and again", "192.0.2.1", w.svc, time.Minute, ""},
	} {
		w.pass(step.after)
		before := len(w.visits(made.ID))
		if err := visit(w, step.svc, token, step.ip, true); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range w.visits(made.ID)[before:] {
			names = append(names, r.Name)
			if b := r.Body; b.Outcome != audit.Allowed || b.Operator.Role != "auditor" ||
				b.Request.IP.IsValid() != (step.ip != "") {
				t.Errorf("%s: recorded %s", step.what, r.raw)
			}
		}
		if got := strings.Join(names, " "); got != step.want {
			t.Errorf("%s: recorded %q, want %q", step.what, got, step.want)
		}
	}
}

// Only who reads the log, and may, is recorded as a reader.
func TestAReaderIsWhoReads(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	for _, role := range []admin.Role{admin.Auditor, admin.Editor} {
		token, made, err := w.svc.CreateOperator(t.Context(), w.root("acme"), role, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := visit(w, w.svc, token, "192.0.2.1", false); err != nil {
			t.Fatal(err)
		}
		if got := w.visits(made.ID); len(got) != 1 || got[0].Name != audit.AuthAdmin {
			t.Errorf("%s signed in, recorded %v", role, got)
		}
		err = visit(w, w.svc, token, "192.0.2.1", true)
		last := w.visits(made.ID)
		if r := last[len(last)-1]; len(last) != 2 || (err == nil) != (r.Name == audit.AuditRead) ||
			(err == nil) != (role == admin.Auditor) || (r.Body.Outcome == audit.Allowed) != (err == nil) {
			t.Errorf("%s read (%v), recorded %v", role, err, last)
		}
	}
}

func TestOfACrowdOneVisitIsRecorded(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	token, made, err := w.svc.CreateOperator(t.Context(), w.root("acme"), admin.Auditor, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if err := visit(w, w.svc, token, "192.0.2.1", true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := w.visits(made.ID); len(got) != 2 {
		t.Errorf("recorded %v", got)
	}
}

// Nobody is let in of whom that cannot be recorded; what was recorded already is not needed again.
func TestWhoCannotBeRecordedIsNotLetIn(t *testing.T) {
	w := newWorld(t)
	w.deadline = 50 * time.Millisecond
	w.process = w.start()
	w.apply("acme", file("acme", "bot"))
	token, other := w.token("acme", admin.Auditor), w.token("acme", admin.Auditor)
	if err := visit(w, w.svc, token, "192.0.2.1", false); err != nil {
		t.Fatal(err)
	}
	w.store.Set(storagetest.Commit, storagetest.NotApplied)
	wantKind(t, visit(w, w.svc, other, "192.0.2.1", false), fault.Unavailable)
	wantKind(t, visit(w, w.svc, token, "192.0.2.1", true), fault.Unavailable)
	if err := visit(w, w.svc, token, "192.0.2.1", false); err != nil {
		t.Error(err)
	}
	w.store.Set(storagetest.Commit, storagetest.Works)
	for deadline := time.Now().Add(time.Minute); ; {
		err := visit(w, w.svc, other, "192.0.2.1", true)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// However many addresses an operator has, what is remembered is bounded: first what is over is forgotten.
func TestVisitsAreBounded(t *testing.T) {
	w := newWorld(t)
	ip := netip.MustParseAddr("10.0.0.0")
	remember := func(lasts time.Duration) (count int) {
		ip = ip.Next()
		return w.svc.Remember(ip, w.time(), lasts)
	}
	known := remember(time.Hour)
	for known < admin.MaxVisits/2 {
		known = remember(time.Hour)
	}
	for known < admin.MaxVisits {
		known = remember(0)
	}
	if known = remember(time.Hour); known != admin.MaxVisits/2+1 {
		t.Errorf("%d are remembered when those are forgotten that are over", known)
	}
	for known < admin.MaxVisits {
		known = remember(time.Hour)
	}
	if known = remember(time.Hour); known != 1 {
		t.Errorf("%d are remembered when none is over", known)
	}
}
