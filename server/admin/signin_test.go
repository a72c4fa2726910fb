package admin_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

func TestAuthenticateRefusesAlike(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	w.apply("other", file("other", "theirs"))
	acme, other := w.token("acme", admin.Admin), w.token("other", admin.Admin)
	expired, _, err := w.svc.CreateOperator(t.Context(), w.root("acme"), admin.Admin, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	var told string
	for name, c := range map[string]admin.Credentials{
		"a platform token of nobody":           {Tenant: "acme", Token: admin.NewToken("")},
		"a token of nobody":                    {Tenant: "acme", Token: admin.NewToken("acme")},
		"a token of nobody at no tenant":       {Tenant: "nowhere", Token: admin.NewToken("nowhere")},
		"a token that has expired":             {Tenant: "acme", Token: expired},
		"no token":                             {Tenant: "acme"},
		"the hash of a token":                  {Tenant: "acme", Token: admin.HashToken(acme)},
		"the hash of the platform's token":     {Tenant: "acme", Token: admin.HashToken(w.platform)},
		"a token with another spelling":        {Tenant: "acme", Token: acme + "="},
		"a token with a newline":               {Tenant: "acme", Token: acme + "\n"},
		"a token in upper case":                {Tenant: "acme", Token: strings.ToUpper(acme)},
		"a token that is longer than its form": {Tenant: "acme", Token: acme + strings.Repeat("A", 1<<16)},
	} {
		op, err := w.svc.Authenticate(t.Context(), c)
		if err == nil {
			t.Fatalf("%s was let in", name)
		}
		f := fault.As(err)
		if f.Kind != fault.Unauthenticated || op.May(admin.ReadConfig) || told != "" && f.Public != told {
			t.Errorf("%s: %v, public %q", name, err, f.Public)
		}
		told = f.Public
	}
	if _, err := w.svc.Authenticate(t.Context(), admin.Credentials{Tenant: "acme", Token: expired}); err == nil {
		t.Fatal("expired token was let in")
	} else {
		wantReason(t, err, "operator.expired")
	}
	w.signIn(w.process, "acme", acme)
	w.signIn(w.process, "other", other)
}

// What a tenant's operator asks of anything else is not found, whether it exists or not.
func TestATenantsTokenFindsNothingElsewhere(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	w.apply("other", file("other", "theirs"))
	acme := w.token("acme", admin.Admin)
	var told string
	for _, slug := range []string{"other", "nowhere", "../acme", "ACME", ""} {
		for name, token := range map[string]string{"its token": acme, "a forged one": admin.NewToken("acme")} {
			op, err := w.svc.Authenticate(t.Context(), admin.Credentials{Tenant: slug, Token: token})
			f := fault.As(err)
			if err == nil || f.Kind != fault.NotFound || op.May(admin.ReadConfig) || told != "" && f.Public != told {
				t.Errorf("%s at %q: %v", name, slug, err)
			}
			told = f.Public
		}
	}
}

func TestAnEmptyPlatformHashLetsNobodyIn(t *testing.T) {
	w := newWorld(t)
	svc := admin.New(admin.Config{Directory: w.dir, Store: w.store, Log: w.log})
	for _, token := range []string{"", w.platform} {
		_, err := svc.Authenticate(t.Context(), admin.Credentials{Token: token})
		wantKind(t, err, fault.Unauthenticated)
	}
}

func TestOtherTenantsIDsAreNotFound(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	w.apply("other", file("other", "theirs")+tool)
	op := w.signIn(w.process, "acme", w.token("acme", admin.Admin))
	_, _, err := w.svc.CreateSecret(t.Context(), w.root("other"), "theirs")
	if err != nil {
		t.Fatal(err)
	}
	secrets, _ := w.svc.Secrets(t.Context(), w.root("other"), "theirs")
	keys, _ := w.svc.Keys(t.Context(), w.root("other"))
	operators, _ := w.svc.Operators(t.Context(), w.root("acme"))
	before := w.position("other")
	for name, call := range map[string]func() error{
		"client":   func() error { _, err := w.svc.Object(t.Context(), op, "client", "theirs"); return err },
		"tool":     func() error { _, err := w.svc.Object(t.Context(), op, "tool", "payments"); return err },
		"secrets":  func() error { _, err := w.svc.Secrets(t.Context(), op, "theirs"); return err },
		"secret":   func() error { return w.svc.DeleteSecret(t.Context(), op, "theirs", secrets[0].ID) },
		"key":      func() error { _, err := w.svc.RevokeKey(t.Context(), op, keys[0].ID); return err },
		"cutoff":   func() error { _, err := w.svc.Revoke(t.Context(), op, "client", "theirs", ""); return err },
		"operator": func() error { return w.svc.DeleteOperator(t.Context(), w.root("other"), operators[0].ID) },
		"a row that is no object": func() error {
			_, err := w.svc.Object(t.Context(), op, "operator", operators[0].ID)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantKind(t, call(), fault.NotFound) })
	}
	if after := w.position("other"); after.Index != before.Index {
		t.Error("something was written to the other tenant")
	}
	if all, _ := w.svc.Objects(t.Context(), op, "operator"); len(all) != 0 {
		t.Error("rows that are no objects are listed")
	}
}

func TestOperatorTokens(t *testing.T) {
	for _, slug := range []string{"acme", ""} {
		t.Run("at "+slug, func(t *testing.T) {
			w := newWorld(t)
			w.apply("acme", file("acme", "bot"))
			plain, made, err := w.svc.CreateOperator(t.Context(), w.root(slug), admin.Auditor, time.Hour)
			if err != nil || made.Role != admin.Auditor || made.Expires.Sub(made.Created) != time.Hour {
				t.Fatal(made, err)
			}
			second := w.start()
			w.signIn(second, slug, plain)
			w.signIn(second, "acme", plain)
			list, err := w.svc.Operators(t.Context(), w.root(slug))
			if err != nil || len(list) != 1 || list[0] != made {
				t.Fatal(list, err)
			}
			if err := w.svc.DeleteOperator(t.Context(), w.root(slug), made.ID); err != nil {
				t.Fatal(err)
			}
			_, err = second.svc.Authenticate(t.Context(), admin.Credentials{Tenant: slug, Token: plain})
			wantKind(t, err, fault.Unauthenticated) // at once, in every process
			wantKind(t, w.svc.DeleteOperator(t.Context(), w.root(slug), made.ID), fault.NotFound)
		})
	}
}

func TestOperatorRequestsAreChecked(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	for name, row := range map[string]struct {
		slug     string
		role     admin.Role
		ttl      time.Duration
		problems int
	}{
		"no role":                       {"acme", "", time.Hour, 1},
		"an unknown role":               {"acme", "root", time.Hour, 1},
		"an editor of the platform":     {"", admin.Editor, time.Hour, 1},
		"a responder of the platform":   {"", admin.Responder, time.Hour, 1},
		"a lifetime under a minute":     {"acme", admin.Admin, time.Minute - 1, 1},
		"a lifetime over a year":        {"acme", admin.Admin, 365*24*time.Hour + 1, 1},
		"no lifetime":                   {"acme", admin.Admin, 0, 1},
		"both mistakes at once":         {"acme", "root", -time.Hour, 2},
		"the shortest life":             {"acme", admin.Admin, time.Minute, 0},
		"the longest life, on platform": {"", admin.Admin, 365 * 24 * time.Hour, 0},
	} {
		_, _, err := w.svc.CreateOperator(t.Context(), w.root(row.slug), row.role, row.ttl)
		if row.problems == 0 && err != nil || row.problems > 0 && len(fault.As(err).Problems) != row.problems {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExpiredOperatorsMakeRoom(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	root := w.root("acme")
	for range admin.MaxOperators {
		if _, _, err := w.svc.CreateOperator(t.Context(), root, admin.Auditor, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := w.svc.CreateOperator(t.Context(), root, admin.Auditor, time.Minute)
	wantKind(t, err, fault.Conflict)
	w.pass(time.Minute)
	if list, _ := w.svc.Operators(t.Context(), root); len(list) != 0 {
		t.Error("expired tokens are listed")
	}
	w.token("acme", admin.Auditor)
	rows, _, err := w.store.Rows(t.Context(), w.id("acme"), "operator")
	if err != nil || len(rows) != 1 {
		t.Errorf("%d rows remain, %v", len(rows), err)
	}
}

func TestRefusedSignInsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	for range 50 {
		for _, slug := range []string{"acme", "nowhere"} {
			_, err := w.svc.Authenticate(t.Context(), admin.Credentials{
				Tenant: slug, Token: admin.NewToken(slug), IP: netip.MustParseAddr("192.0.2.9")})
			wantKind(t, err, fault.Unauthenticated)
		}
	}
	if err := w.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, log := range []ledger.Tenant{w.id("acme"), ledger.Platform} {
		all := w.records(log)
		last := all[len(all)-1]
		if last.Name != audit.DenyFlood || last.Body.Count != 50 || last.Body.Reason != "operator.unknown" {
			t.Errorf("log %s ends with %s", log, last.raw)
		}
	}
}

func TestAStoreThatIsAwayLetsNobodyIn(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	token := w.token("acme", admin.Admin)
	w.store.Set(storagetest.Position, storagetest.NotApplied)
	_, err := w.svc.Authenticate(t.Context(), admin.Credentials{Tenant: "acme", Token: token})
	wantKind(t, err, fault.Unavailable)
	w.store.Set(storagetest.Position, storagetest.Works)
	w.store.Set(storagetest.Rows, storagetest.NotApplied)
	_, err = w.svc.Authenticate(t.Context(), admin.Credentials{Tenant: "acme", Token: admin.NewToken("")})
	wantKind(t, err, fault.Unavailable)
}

// TestWrongTokensAreLimited, of one address at all tenants together, and nothing else is: a right token is served at
// the same address while wrong ones arrive, and one that was right uses up its own budget only.
func TestWrongTokensAreLimited(t *testing.T) {
	w := newWorld(t)
	w.limits = limit.Rules{SecretFailures: limit.Rate{Count: 10, Per: time.Minute}}
	w.process = w.start()
	w.apply("acme", file("acme", "bot"))
	right, old, everywhere := w.token("acme", admin.Auditor), w.token("acme", admin.Auditor), w.token("", admin.Admin)
	signIn := func(from, slug, token string) error {
		_, err := w.svc.Authenticate(t.Context(), admin.Credentials{Tenant: slug, Token: token,
			IP: netip.MustParseAddr(from)})
		return err
	}
	const guesser, office = "192.0.2.9", "192.0.2.10"
	for i := range 30 {
		err := signIn(guesser, []string{"acme", "nowhere", ""}[i%3], admin.NewToken([]string{"acme", "", "nowhere"}[i%3]))
		if limited := fault.As(err).Kind == fault.TooMany; limited != (i >= 10) {
			t.Errorf("guess %d: %v", i, err)
		}
	}
	for i := range 100 {
		err := signIn(guesser, "acme", admin.NewToken("acme"))
		wantKind(t, err, fault.TooMany)
		if after := fault.As(err).RetryAfter; after <= 0 || after > 6*time.Second {
			t.Errorf("wait %v", after)
		}
		if err := signIn(guesser, "acme", []string{right, w.platform, everywhere}[i%3]); err != nil {
			t.Errorf("a right token is refused beside wrong ones: %v", err)
		}
	}
	wantKind(t, signIn(guesser, "acme", ""), fault.Unauthenticated) // no token is no guess
	wantKind(t, signIn(office, "acme", admin.NewToken("acme")), fault.Unauthenticated)
	w.pass(time.Hour + time.Minute) // the tokens have expired
	limited := 0
	for range 100 {
		if fault.As(signIn(office, "acme", old)).Kind == fault.TooMany {
			limited++
		}
		if err := signIn(office, "acme", w.platform); err != nil {
			t.Fatal(err)
		}
	}
	if limited != 90 {
		t.Errorf("an old token was refused unseen %d times of 100", limited)
	}
	if err := w.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for log, want := range map[ledger.Tenant]int64{w.id("acme"): 6 + 100 + 90, ledger.Platform: 14} {
		var counted int64
		for _, r := range w.records(log) {
			if r.Name == audit.DenyFlood && r.Body.Reason == limit.ReasonSecret {
				counted += r.Body.Count
			}
		}
		if counted != want {
			t.Errorf("log %s counts %d refusals for wrong tokens, want %d", log, counted, want)
		}
	}
}
