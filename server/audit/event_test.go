package audit_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

// maxClaims is what the claims of one event may have, so that a signed one stays under 16 KiB: 4/3 of it, and 256.
const maxClaims = 12000

func TestAnEventIsASecurityEventToken(t *testing.T) {
	now := time.Unix(1790000000, 0)
	l := audit.New(audit.Config{
		Store: newStore(t), Master: master, Node: "r1", Deadline: time.Minute, Now: func() time.Time { return now },
	})
	e := audit.Event{Name: audit.TokenExchange, Txn: "run-1", Agent: "spiffe://acme.example/ap-bot", Body: audit.Body{
		Outcome: audit.Allowed, ClientID: "ap-bot", Actor: audit.Actor{Chain: []string{"client:ap-bot", "sso:ann"}},
		Tool: "payments", Actions: []string{"refunds.read"}, Resource: "https://pay.example/?a=1&b=<2>",
		Token:      audit.Token{JTI: "t1", Hash: "aGFzaA", Expiry: 1790000300, Type: "at+jwt"},
		Subject:    audit.Presented{Issuer: "prod", JTI: "s1", Alg: "ES256", KeyID: "k1", Reused: true},
		Policy:     audit.Policy{Revision: "sha256:x", Rules: []string{"ap-bot-refunds"}},
		Request:    audit.Request{IP: netip.MustParseAddr("::ffff:192.0.2.1"), Trace: "0af7651916cd43dd8448eb211c80319c"},
		DecisionID: "d1",
	}}
	if err := appendOnly(l, origin, e); err != nil {
		t.Fatal(err)
	}
	if err := appendOnly(l, origin, audit.Event{Name: audit.TokenRevoke, Agent: "ap-bot", Body: audit.Body{
		Outcome: audit.Denied, Reason: "token.other_client",
	}}); err != nil {
		t.Fatal(err)
	}
	page, err := l.Read(t.Context(), origin.Tenant, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	ids := regexp.MustCompile(`"(jti":"|wid":")[0-9a-v]{36}"`)
	for i, want := range []string{
		`{"iss":"https://sts.example/t/acme","aud":"https://sts.example/t/acme/log","toe":1790000000,"events":` +
			`{"urn:bursar:event:writer.start:v1":{"outcome":"allowed","request":{"node":"r1"}}},` +
			`"iat":1790000000,"jti":"…","wid":"…","wsn":1}`,
		`{"iss":"https://sts.example/t/acme","aud":"https://sts.example/t/acme/log","toe":1790000000,"txn":"run-1",` +
			`"sub_id":{"format":"uri","uri":"spiffe://acme.example/ap-bot"},"events":` +
			`{"urn:bursar:event:token.exchange:v1":{"agent":"spiffe://acme.example/ap-bot","outcome":"allowed",` +
			`"decision_id":"d1","client_id":"ap-bot","actor":{"chain":["client:ap-bot","sso:ann"]},"tool":"payments",` +
			`"actions":["refunds.read"],"resource":"https://pay.example/?a=1&b=<2>",` +
			`"token":{"jti":"t1","th":"aGFzaA","exp":1790000300,"typ":"at+jwt"},` +
			`"subject_token":{"iss":"prod","jti":"s1","alg":"ES256","kid":"k1","reused":true},` +
			`"policy":{"rev":"sha256:x","rules":["ap-bot-refunds"]},` +
			`"request":{"ip":"192.0.2.1","trace":"0af7651916cd43dd8448eb211c80319c","node":"r1"}}},` +
			`"iat":1790000000,"jti":"…","wid":"…","wsn":2}`,
		`{"iss":"https://sts.example/t/acme","aud":"https://sts.example/t/acme/log","toe":1790000000,` +
			`"sub_id":{"format":"opaque","id":"ap-bot"},"events":` +
			`{"urn:bursar:event:token.revoke:v1":{"agent":"ap-bot","outcome":"denied","reason":"token.other_client",` +
			`"request":{"node":"r1"}}},"iat":1790000000,"jti":"…","wid":"…","wsn":3}`,
	} {
		if got := ids.ReplaceAllString(string(page[i].Claims), `"${1}…"`); got != want {
			t.Errorf("entry %d is\n%s, want\n%s", i, got, want)
		}
	}
}

func TestAnEventHasNoRoomForAnything(t *testing.T) {
	var walk func(path string, v reflect.Type)
	walk = func(path string, v reflect.Type) {
		switch v.Kind() {
		case reflect.Struct:
			if v == reflect.TypeFor[netip.Addr]() {
				return
			}
			for f := range v.Fields() {
				walk(path+"."+f.Name, f.Type)
			}
		case reflect.String, reflect.Int64, reflect.Bool:
		default:
			if v != reflect.TypeFor[[]string]() {
				t.Errorf("%s is a %s", path, v)
			}
		}
	}
	walk("Event", reflect.TypeFor[audit.Event]())
}

// fill puts text into every string of v and n of them into every list.
func fill(v reflect.Value, text string, n int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text, n)
		}
	case reflect.String:
		v.SetString(text)
	case reflect.Slice:
		v.Set(reflect.ValueOf(slices.Repeat([]string{text}, n)))
	case reflect.Int64:
		v.SetInt(-1 << 63)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// filled returns an event that is full of text.
func filled(text string, n int) audit.Event {
	e := audit.Event{}
	fill(reflect.ValueOf(&e).Elem(), text, n)
	e.Name, e.Body.Outcome = audit.TokenExchange, audit.Denied
	return e
}

func TestEveryEventFits(t *testing.T) {
	long := origin
	long.Issuer = "https://" + strings.Repeat("x", 504)
	l := newLog(t, newStore(t))
	for name, text := range map[string]string{
		"quotes": strings.Repeat(`"`, 300), "backslashes": strings.Repeat(`\`, 300), "markup": strings.Repeat("<&>", 300),
		"control characters": strings.Repeat("\x00\x1b\n", 300), "broken UTF-8": strings.Repeat("\xff\xc0", 300),
		"wide characters": strings.Repeat("\U0001F600", 300), "separators": strings.Repeat("\u2028\u202e", 300),
		"a megabyte": strings.Repeat("a", 1<<20), "a line of logs": "a\nb level=error",
	} {
		var events []audit.Event
		for _, n := range []int{0, 1, 8, 64, 65, 10000} {
			events = append(events, filled(text, n))
		}
		if _, err := l.Change(t.Context(), long, ledger.Change{}, events...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := l.Read(t.Context(), origin.Tenant, 0, 1000)
	if err != nil || len(all) != 1+9*6 {
		t.Errorf("%d records, %v", len(all), err)
	}
	for _, r := range all {
		checkClaims(t, r.Claims)
	}
}

// checkClaims checks what no input may break.
func checkClaims(t *testing.T, claims json.RawMessage) {
	t.Helper()
	switch {
	case len(claims) > maxClaims:
		t.Errorf("%d bytes: %.200s", len(claims), claims)
	case !json.Valid(claims) || !utf8.Valid(claims):
		t.Errorf("not JSON: %.200q", claims)
	case strings.ContainsFunc(string(claims), func(r rune) bool { return !unicode.IsPrint(r) && r != utf8.RuneError }):
		t.Errorf("not printable: %.200q", claims)
	}
}

func TestWhatWasDecidedIsNeverCut(t *testing.T) {
	var asked, granted, fields []string
	for i := range 64 {
		name := fmt.Sprintf("%03d%s", i, strings.Repeat("x", 60))
		granted = append(granted, name)
		asked = append(asked, strings.Repeat("t", 63)+":"+name)
		fields = append(fields, fmt.Sprint("policies.", i))
	}
	l := newLog(t, newStore(t))
	e := event("a")
	e.Body.Actions, e.Body.Requested, e.Body.Change.Fields = granted, slices.Clone(asked), fields
	e.Body.Resource = "https://sts.example/" + strings.Repeat("r", 200)
	if err := appendOnly(l, origin, e); err != nil {
		t.Fatal(err)
	}
	b := history(t, l)[1].Body
	if !slices.Equal(b.Actions, granted) || !slices.Equal(b.Change.Fields, fields) || b.Resource != e.Body.Resource {
		t.Errorf("cut to %v", b)
	}
	if len(b.Requested) != 8 || b.Requested[7] != "…" || b.Requested[6] != asked[6] {
		t.Errorf("requested is %v", b.Requested)
	}
	if !slices.Equal(e.Body.Requested, asked) {
		t.Error("the caller's list was cut")
	}
}

func TestARequestIsOnlyWhereItCameFrom(t *testing.T) {
	l := newLog(t, newStore(t))
	e := event("a")
	e.Body.Request = audit.Request{IP: netip.MustParseAddr("fe80::1%eth0"), Trace: "not a trace id", Node: "another"}
	e.Body.Actions = []string{"line\nbreak"}
	if err := appendOnly(l, origin, e); err != nil {
		t.Fatal(err)
	}
	b := history(t, l)[1].Body
	want := audit.Request{IP: netip.MustParseAddr("fe80::1"), Node: "r1"}
	if b.Request != want || b.Actions[0] != "line?break" {
		t.Errorf("got %+v", b)
	}
	if e.Body.Actions[0] != "line\nbreak" {
		t.Error("the caller's list was cleaned")
	}
}

func TestATokenIsNeverRecorded(t *testing.T) {
	const canary = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
	l := newLog(t, newStore(t))
	for _, text := range []string{
		canary, "Bearer " + canary, strings.Repeat("x", 250) + canary, "\x00" + canary, canary[21:],
		"https://tool.example/?token=" + canary,
	} {
		if err := appendOnly(l, origin, filled(text, 2)); err != nil {
			t.Fatal(err)
		}
	}
	hash := "AAAAeyJAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" // what a hash may look like
	e := event("hash")
	e.Body.Token.Hash = hash
	if err := appendOnly(l, origin, e); err != nil {
		t.Fatal(err)
	}
	all, err := l.Read(t.Context(), origin.Tenant, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if strings.Contains(string(r.Claims), "eyJhb") || strings.Contains(string(r.Claims), "eyJzd") {
			t.Errorf("index %d holds a token: %s", r.Index, r.Claims)
		}
	}
	if got := parse(t, all[len(all)-1]).Body.Token.Hash; got != hash {
		t.Errorf("a hash was recorded as %q", got)
	}
}

func TestDigest(t *testing.T) {
	if got := audit.Digest([]byte("abc")); got != "sha256:ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0" {
		t.Errorf("got %s", got)
	}
	if got := audit.Digest(nil); got != "" {
		t.Errorf("the digest of nothing is %s", got)
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9.x", "refunds.read", "192.0.2.1", "policy.no_rule", 3)
	f.Add("\xff\u2028\"\\", "<script>", "fe80::1%\"eth0", "Free text", 1000)
	f.Fuzz(func(t *testing.T, text, asked, ip, reason string, n int) {
		l := newLog(t, &memory{})
		e := filled(text, 1+(n&0x3ff))
		e.Body.Requested = slices.Repeat([]string{asked}, n&0xfff)
		e.Body.Request.IP, _ = netip.ParseAddr(ip)
		e.Body.Reason = reason
		if err := appendOnly(l, origin, e); err != nil {
			t.Fatal(err)
		}
		page, err := l.Read(t.Context(), origin.Tenant, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		checkClaims(t, page[0].Claims)
		if reason := parse(t, page[0]).Body.Reason; strings.ContainsAny(reason, " \n\"") || len(reason) > 64 {
			t.Errorf("the reason is %q", reason)
		}
	})
}
