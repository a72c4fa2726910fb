package tenant_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tenant"
)

// distant is a master key that is kept elsewhere, which may be away.
type distant struct {
	keys.Master
	away bool
}

func (m *distant) Open(sealed, aad []byte) ([]byte, error) {
	if m.away {
		return nil, fmt.Errorf("open: %w", fault.ErrUnavailable)
	}
	return m.Master.Open(sealed, aad)
}

// A tenant whose master key was away is usable as soon as that is back, though nothing of the tenant has changed; one
// that was read before goes on.
func TestAMasterKeyThatWasAwayIsLookedForAgain(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme())
	m := &distant{Master: w.Master, away: true}
	w.Master = m
	d := w.Start().Directory
	for range 2 {
		if _, err := d.Fresh(t.Context(), "acme"); fault.As(err).Kind != fault.Unavailable {
			t.Errorf("while it is away: %v", err)
		}
		if v, err := d.Bare(t.Context(), "acme"); err != nil || v.Readable() {
			t.Errorf("a bare view: %v", err)
		}
	}
	m.away = false
	w.Clock.Advance(time.Second)
	if _, err := d.View(t.Context(), "acme"); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	m.away = true
	w.Clock.Advance(time.Minute)
	if _, err := d.Fresh(t.Context(), "acme"); err != nil {
		t.Errorf("when it is away again: %v", err)
	}
}

// TestABrokenTenant: with the wrong master key a tenant allows nothing, and can still be looked at and revoked.
func TestABrokenTenant(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme())
	other, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	w.Master = other
	d := w.Start().Directory
	for range 2 {
		for name, get := range map[string]func() (*tenant.View, error){
			"View":  func() (*tenant.View, error) { return d.View(t.Context(), "acme") },
			"Fresh": func() (*tenant.View, error) { return d.Fresh(t.Context(), "acme") },
			"At":    func() (*tenant.View, error) { return d.At(t.Context(), "acme", ledger.Position{Revision: 1}) },
		} {
			if _, err := get(); fault.As(err).Kind != fault.Unavailable || fault.As(err).Reason != "tenant.unreadable" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := d.Check(t.Context()); err == nil {
		t.Error("the wrong master key passed the check")
	}
	if err := w.Directory.Check(t.Context()); err != nil {
		t.Errorf("the right master key: %v", err)
	}
	v, err := d.Bare(t.Context(), "acme")
	if err != nil || v.Origin() != (audit.Origin{Tenant: w.ID("acme"), Issuer: servertest.BaseURL + "/t/acme"}) ||
		len(v.Rows(tenant.KindClient)) == 0 {
		t.Fatalf("bare view: %v", err)
	}
	w.Cut("acme", "client", "ap-bot", true)
	v, err = d.Bare(t.Context(), "acme")
	if _, cut := v.Cutoffs.Disabled(ledger.Key{Kind: "client", ID: "ap-bot"}); err != nil || !cut {
		t.Errorf("the cutoff is not in the bare view: %v", err)
	}
	f, err := tenant.ParseFile([]byte(servertest.Acme()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Draft(v, f, false); fault.As(err).Reason != "tenant.unreadable" {
		t.Errorf("draft without keys: %v", err)
	}
}

// TestConditionsAreBounded: what a tenant may ask to be compiled is bounded as a whole, not only one by one.
func TestConditionsAreBounded(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme())
	rules := func(n int) string {
		var b strings.Builder
		b.WriteString(servertest.Acme())
		for i := range n {
			fmt.Fprintf(&b, "  - {id: p%d, clients: [ap-bot], tool: mail, actions: [send], condition: 'client.id != %q'}\n",
				i, strings.Repeat("x", 1000))
		}
		return b.String()
	}
	if _, err := w.Draft(rules(100), false); err != nil {
		t.Errorf("100 KB of conditions: %v %v", err, servertest.Problems(err))
	}
	_, err := w.Draft(rules(140), false)
	if problems := servertest.Problems(err); len(problems) != 1 || !strings.Contains(problems[0], "at most 131072") {
		t.Errorf("140 KB of conditions: %v %q", err, problems)
	}
}

// TestSecretsGoWithTheirMethod: a secret that leaked before its client changed to another method is not valid again
// when the client changes back.
func TestSecretsGoWithTheirMethod(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme())
	w.Secret("secret-bot")
	has := func() bool {
		v, err := w.Directory.Fresh(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		_, ok := v.Row(tenant.KindSecret, "secret-bot")
		return ok
	}
	const basic = "secret-bot\"}]\n    auth: {method: client_secret_basic}"
	w.Apply(servertest.Acme(basic, "secret-bot\"}]\n    auth: {method: client_secret_post}"), false)
	if !has() {
		t.Error("the secret went although the client still has one")
	}
	w.Apply(servertest.Acme(basic, "secret-bot\"}]\n    auth: {method: workload}"), false)
	w.Apply(servertest.Acme(), false)
	if has() {
		t.Error("the secret came back with the method")
	}
}

// TestForget: what nobody asks for leaves the memory, and comes back when somebody does.
func TestForget(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme())
	w.Create(servertest.Globex())
	for _, slug := range []string{"acme", "globex"} {
		if _, err := w.Directory.View(t.Context(), slug); err != nil {
			t.Fatal(err)
		}
	}
	w.Clock.Advance(time.Hour)
	if _, err := w.Directory.View(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	w.Directory.Forget(w.Clock.Now().Add(-time.Minute))
	if got := sorted(w.Directory.Loaded()); !slices.Equal(got, []string{"acme"}) {
		t.Errorf("loaded after an hour: %q", got)
	}
	if _, err := w.Directory.View(t.Context(), "globex"); err != nil {
		t.Error(err)
	}
}
