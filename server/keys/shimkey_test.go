package keys_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// A key of a shim signs some events, and is no key of the log in any other way.
func TestTheKeyOfAShimIsOneOfTheLogForSomeEvents(t *testing.T) {
	g := newGuarded(t, newMaster(t), "a")
	before := openLog2(t, g)
	key := g.trust(newShim(t))
	g.trust(newShim(t))
	r := openLog2(t, g)
	if r.Events().KeyID != before.Events().KeyID || len(r.Notes(keyName, logStart)) != 1 {
		t.Error("something else signs the log")
	}
	published := r.EventKeys()
	if len(published) != 3 || published[0].Names != nil {
		t.Fatalf("published: %+v", published)
	}
	for _, k := range published[1:] {
		if !slices.Equal(k.Names, keys.ShimEvents()) || k.MaySign("log.key") || !k.MaySign("key.use") {
			t.Errorf("it may sign %v", k.Names)
		}
	}
	if _, err := r.Revoke(key.ID, logStart); !errors.Is(err, keys.ErrShimKey) {
		t.Errorf("revoked as a key of the log: %v", err)
	}
	put, err := r.Rotate(logStart.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if next, err := r.With(put); err != nil || len(next.EventKeys()) != 4 || len(next.Keys()) != 6 {
		t.Errorf("rotated: %v", err)
	}
	set := g.seal(key)
	parsed, err := auditor.ParseSET(set)
	if err != nil || parsed.KeyID != key.ID {
		t.Fatalf("%v, %v", parsed, err)
	}
	public, err := published[1].Public()
	if err != nil || !parsed.Verify(public) {
		t.Errorf("its signature is not by the key that is published: %v", err)
	}
}

// seal signs an event with the key of a shim.
func (g *guarded) seal(k *keys.ShimKey) []byte {
	g.t.Helper()
	s, err := k.Signer(g.id, g.seen())
	if err != nil {
		g.t.Fatal(err)
	}
	claims := fmt.Sprintf(`{"iss":"i","aud":"i/log","jti":"j","iat":1,"wid":"w","wsn":1,"events":{"%skey.use%s":{}}}`,
		auditor.EventPrefix, auditor.EventSuffix)
	set, err := s.SignBytes("secevent+jwt", []byte(claims))
	if err != nil {
		g.t.Fatal(err)
	}
	return set
}

func TestTooManyShimsAreRefused(t *testing.T) {
	g := newGuarded(t, newMaster(t), "a")
	for range keys.MaxShims {
		g.trust(newShim(t))
	}
	if _, _, err := g.shims().Trust(newShim(t).Public(), "", logStart); !errors.Is(err, keys.ErrTooManyShims) {
		t.Error(err)
	}
	for name, p := range map[string]keys.ShimPublic{
		"no keys": {}, "no recipient": {Event: newShim(t).Public().Event},
		"no key for events": {Recipient: newShim(t).Public().Recipient},
		"a short recipient": {Event: newShim(t).Public().Event, Recipient: make([]byte, 32)},
	} {
		if _, _, err := newGuarded(t, newMaster(t), "a").shims().Trust(p, "", logStart); err == nil {
			t.Errorf("%s: trusted", name)
		}
	}
}

func TestAShimKeyFileIsReadAsItWasWritten(t *testing.T) {
	m := newMaster(t)
	a, b := newGuarded(t, m, "a"), newGuarded(t, m, "b")
	key := b.trust(a.trust(newShim(t)))
	file, err := key.File()
	if err != nil {
		t.Fatal(err)
	}
	again, err := keys.ReadShimKey(bytes.TrimSpace(file)) // as an environment variable has it
	if err != nil || again.ID != key.ID || len(again.Tenants()) != 2 || again.Tenants()[1].ID != "b" {
		t.Fatalf("read %+v, %v", again, err)
	}
	for _, g := range []*guarded{a, b} {
		if plain, err := g.opens(again, g.seen()); err != nil || plain != "secret of "+string(g.id) {
			t.Errorf("%q, %v", plain, err)
		}
		g.seal(again)
	}
}

func TestAShimKeyFileThatIsNoneIsRefused(t *testing.T) {
	file, err := newGuarded(t, newMaster(t), "a").trust(newShim(t)).File()
	if err != nil {
		t.Fatal(err)
	}
	encoded := strings.TrimPrefix(strings.TrimSpace(string(file)), "bursar-shim-key:v1:")
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) string {
		row := edited(t, ledger.Row{Value: text}, map[string]any{name: value})
		return "bursar-shim-key:v1:" + base64.StdEncoding.EncodeToString(row.Value)
	}
	tenant := map[string]any{"slug": "acme", "id": "a", "grantor": make([]byte, 32)}
	if _, err := keys.ReadShimKey([]byte(with("tenants", []any{tenant}))); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty": "", "a master key": string(keys.NewMasterFile()), "another version": "bursar-shim-key:v2:" + encoded,
		"no base64": "bursar-shim-key:v1:" + encoded[1:], "two lines": "bursar-shim-key:v1:" + encoded + "\n" + encoded,
		"no JSON":     "bursar-shim-key:v1:" + base64.StdEncoding.EncodeToString([]byte("x")),
		"more":        "bursar-shim-key:v1:" + base64.StdEncoding.EncodeToString(append(bytes.Clone(text), "{}"...)),
		"a member":    with("more", 1),
		"another id":  with("id", newShim(t).ID),
		"a short key": with("event", make([]byte, 31)), "a short recipient": with("recipient", make([]byte, 31)),
		"no tenants": with("tenants", []any{}),
		"twice":      with("tenants", []any{tenant, tenant}),
		"the platform": with("tenants", []any{
			map[string]any{"slug": "acme", "id": ledger.Platform, "grantor": make([]byte, 32)}}),
		"no grantor": with("tenants", []any{map[string]any{"slug": "acme", "id": "a"}}),
	} {
		if _, err := keys.ReadShimKey([]byte(content)); err == nil {
			t.Errorf("%s: read", name)
		} else if len(encoded) > 40 && strings.Contains(err.Error(), encoded[20:40]) {
			t.Errorf("%s: the error shows the file: %v", name, err)
		}
	}
}
