package openbao_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/storage/openbao"
	"github.com/bursar-sts/bursar/storage/openbao/baotest"
)

func TestAValueIsPutReadAndDestroyed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		b := w.acme()
		ref, other := w.put(b), w.put(b)
		if ref == other || !strings.HasPrefix(ref, "payments-key/") || b.Name() != "openbao" {
			t.Errorf("the references are %s and %s", ref, other)
		}
		w.get(b, ref)
		many := map[string]string{"username": "ap-bot", "password": `p<&>"\ ` + "\u2028" + secretText}
		third, err := b.Put(t.Context(), tenants["acme"], "basic", many)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Get(t.Context(), tenants["acme"], third); err != nil || !maps.Equal(got, many) {
			t.Errorf("it gives another value, %v", err)
		}
		for range 2 { // what is gone is gone
			if err := b.Destroy(t.Context(), tenants["acme"], ref); err != nil {
				t.Fatal(err)
			}
			_, err := b.Get(t.Context(), tenants["acme"], ref)
			w.refused(err, "openbao.gone")
		}
		w.get(b, other)
		_, err = b.Get(t.Context(), tenants["acme"], "payments-key/20260101t000000-0000000000000000")
		w.refused(err, "openbao.gone")
		if err := b.Destroy(t.Context(), tenants["acme"], "payments-key/20260101t000000-0000000000000000"); err != nil {
			t.Errorf("what never was cannot be destroyed: %v", err)
		}
	})
}

// What was deleted in OpenBao itself, which answers 404 and says something of it all the same, is no empty value.
func TestWhatWasDeletedThereIsGone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		b := w.acme()
		ref := w.put(b)
		w.Must(t, http.MethodDelete, w.mount+"/data/bursar/acme/"+ref, nil)
		_, err := b.Get(t.Context(), tenants["acme"], ref)
		w.refused(err, "openbao.gone")
	})
}

// The server that only puts has no right to read, and none to change what was put.
func TestWhoPutsNeedNotRead(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		writes := w.backend(w.client(w.Holder(t, fmt.Sprintf(`
path "%[1]s/data/bursar/+/*" { capabilities = ["create"] }
path "%[1]s/destroy/bursar/+/*" { capabilities = ["update"] }`, w.mount), "1h")), "acme", 0)
		reads := w.backend(w.client(w.Holder(t, fmt.Sprintf(
			`path "%s/data/bursar/acme/*" { capabilities = ["read"] }`, w.mount), "1h")), "acme", 0)
		ref := w.put(writes)
		_, err := writes.Get(t.Context(), tenants["acme"], ref)
		w.refused(err, "openbao.refused")
		w.get(reads, ref)
		_, err = reads.Put(t.Context(), tenants["acme"], "payments-key", fields)
		w.refused(err, "openbao.refused")
		w.refused(reads.Destroy(t.Context(), tenants["acme"], ref), "openbao.refused")
		if err := writes.Destroy(t.Context(), tenants["acme"], ref); err != nil {
			t.Error(err)
		}
	})
}

// Attack F1: whoever can write to OpenBao moves a value to the place of another one.
func TestAValueInAnotherPlaceIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		b := w.acme()
		ref := w.put(b)
		data := w.Must(t, http.MethodGet, w.mount+"/data/bursar/acme/"+ref, nil).Get("data", "data")
		globex := w.backend(w.client(w.Token), "globex", 0)
		own, err := globex.Put(t.Context(), tenants["globex"], "payments-key", map[string]string{"value": "theirs"})
		if err != nil {
			t.Fatal(err)
		}
		_, id, _ := strings.Cut(ref, "/")
		for _, to := range []struct{ slug, ref string }{
			{"globex", own}, {"globex", ref}, {"acme", "other-key/" + id}, {"acme", "payments-key/old"},
		} {
			w.Must(t, http.MethodPut, w.mount+"/data/bursar/"+to.slug+"/"+to.ref, map[string]any{"data": data})
			_, err := map[string]*openbao.Backend{"acme": b, "globex": globex}[to.slug].Get(t.Context(),
				tenants[to.slug], to.ref)
			w.refused(err, "openbao.moved")
		}
	})
}

// Attack E2: names that lead elsewhere are refused before anything is asked.
func TestNamesThatLeadElsewhereAreNeverSent(t *testing.T) {
	w := fake(t)
	b := w.acme()
	w.get(b, w.put(b))
	before := len(w.Fake.Requests())
	for _, ref := range []string{"", "/", "x", "x/", "/x", "../globex/x", "x/..", "..", "x/../../globex/y", "x/y/z",
		"%2e%2e/x", "x/%2e%2e", "x%2fy/z", "X/y", "x\x00/y", "x/y?version=1", "x/y#", "раyments/x", "x//y"} {
		_, err := b.Get(t.Context(), tenants["acme"], ref)
		w.refused(err, "openbao.moved")
		w.refused(b.Destroy(t.Context(), tenants["acme"], ref), "openbao.moved")
	}
	for _, secret := range []string{"", "..", "a/b", "a%2fb", "A", "ключ"} {
		_, err := b.Put(t.Context(), tenants["acme"], secret, fields)
		w.refused(err, "openbao.moved")
	}
	_, err := b.Get(t.Context(), tenants["globex"], "payments-key/x")
	w.refused(err, "openbao.moved")
	_, err = b.Put(t.Context(), tenants["globex"], "payments-key", fields)
	w.refused(err, "openbao.moved")
	for _, slug := range []string{"", "..", "a/b", "{tenant}", "Acme"} {
		_, err := w.client(w.Token).Backends(w.layout(), 0).Of(slug, tenants["acme"]).Put(t.Context(), tenants["acme"],
			"payments-key", fields)
		w.refused(err, "openbao.moved")
	}
	if got := w.asked(before); len(got) > 0 {
		t.Errorf("it was asked: %v", got)
	}
}

// A mount or a namespace that does not exist is not taken for a value that does not.
func TestAMissingPlaceIsSaid(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, c := range []struct {
			layout openbao.Layout
			says   string
		}{
			{openbao.Layout{Mount: "absent-{tenant}"}, "no handler for route"},
			{openbao.Layout{Mount: w.mount, Namespace: "absent-{tenant}"}, "namespace not found"},
		} {
			b := w.client(w.Token).Backends(c.layout, 0).Of("acme", tenants["acme"])
			_, put := b.Put(t.Context(), tenants["acme"], "payments-key", fields)
			_, get := b.Get(t.Context(), tenants["acme"], "payments-key/x")
			for _, err := range []error{put, get, b.Destroy(t.Context(), tenants["acme"], "payments-key/x")} {
				w.refused(err, "openbao.refused")
				if !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error is %v", err)
				}
			}
		}
	})
}

// Each tenant can have a namespace, or a mount, of its own.
func TestEachTenantHasItsPlace(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		above := w.mount + "ns"
		w.Must(t, http.MethodPut, "sys/namespaces/"+above, nil)
		w.MustIn(t, above, http.MethodPut, "sys/namespaces/acme", nil)
		w.MustIn(t, above+"/acme", http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv-v2"})
		w.Must(t, http.MethodPost, "sys/mounts/"+w.mount+"-acme", map[string]any{"type": "kv-v2"})
		for path, l := range map[string]openbao.Layout{
			above + "/acme/kv/data/":         {Namespace: above + "/{tenant}", Mount: "kv"},
			w.mount + "-acme/data/bursar/x/": {Mount: w.mount + "-{tenant}", Path: "bursar/x"},
		} {
			b := w.client(w.Token).Backends(l, 0).Of("acme", tenants["acme"])
			ref := w.put(b)
			w.get(b, ref)
			if got := w.Must(t, http.MethodGet, path+ref, nil).Get("data", "data", "tenant"); got != string(tenants["acme"]) {
				t.Errorf("%s has %v", path, got)
			}
		}
	})
}

func TestALayoutKeepsTenantsApart(t *testing.T) {
	for _, c := range []struct {
		layout openbao.Layout
		wrong  string // the parts that are reported
	}{
		{openbao.Layout{Mount: "secret", Path: "bursar/{tenant}"}, ""},
		{openbao.Layout{Mount: "kv-{tenant}"}, ""},
		{openbao.Layout{Mount: "kv", Namespace: "bursar/{tenant}"}, ""},
		{openbao.Layout{Mount: "secret", Path: "bursar"}, "path"},
		{openbao.Layout{Mount: "secret"}, "path"},
		{openbao.Layout{Path: "bursar/{tenant}"}, "mount"},
		{openbao.Layout{Mount: "secret/", Path: "{tenant}"}, "mount"},
		{openbao.Layout{Mount: "secret", Path: "../{tenant}"}, "path"},
		{openbao.Layout{Mount: "secret", Path: "a//{tenant}"}, "path"},
		{openbao.Layout{Mount: "secret", Path: "a%2f{tenant}"}, "path"},
		{openbao.Layout{Mount: "secret", Path: "{tenants}"}, "path"},
		{openbao.Layout{Mount: "secret", Path: "{tenant}", Namespace: "/ns"}, "namespace"},
	} {
		var got []string
		for name := range c.layout.Check() {
			got = append(got, name)
		}
		if strings.Join(got, " ") != c.wrong {
			t.Errorf("%+v: %v, want %q", c.layout, got, c.wrong)
		}
	}
}

// A mount of KV version 1 answers as if it had stored something, and would not keep versions apart.
func TestAnEngineOfVersionOneIsRefused(t *testing.T) {
	w := fake(t)
	b := w.acme()
	w.answering(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) })
	_, err := b.Put(t.Context(), tenants["acme"], "payments-key", fields)
	w.refused(err, "openbao.answer")
}

// If the answer to a put is lost, what may have been stored is destroyed: nothing refers to it.
func TestAnUncertainPutLeavesNothing(t *testing.T) {
	w := fake(t)
	b := w.acme()
	w.get(b, w.put(b))
	before := len(w.Fake.Requests())
	w.Fake.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/data/") {
			return false
		}
		w.Fake.Intercept(nil)
		w.Fake.Store(r) // and the answer is lost
		panic(http.ErrAbortHandler)
	})
	_, err := b.Put(t.Context(), tenants["acme"], "payments-key", fields)
	w.refused(err, "openbao.unreachable")
	asked := w.asked(before)
	if len(asked) != 2 || !strings.Contains(asked[1].URI, "/destroy/") {
		t.Fatalf("it was asked: %v", asked)
	}
	path := strings.TrimPrefix(asked[0].URI, "/v1/")
	r := w.Do(t, baotest.Ask{Method: http.MethodGet, Path: path})
	if r.Status != http.StatusNotFound || r.Get("data", "metadata", "destroyed") != true {
		t.Errorf("%s: %d %v", path, r.Status, r.Body)
	}
}

func TestWhatIsNoTextIsNotKept(t *testing.T) {
	w := fake(t)
	_, err := w.acme().Put(t.Context(), tenants["acme"], "payments-key", map[string]string{"value": "a\xff" + secretText})
	if f := fault.As(err); f.Kind != fault.Invalid || f.Reason != "openbao.text" {
		t.Errorf("the error is %v", err)
	}
}

// A value that was read is given for a while without asking, then read again; when OpenBao is away it is given until it
// is too old, and then refused.
func TestAStaleValueIsRefused(t *testing.T) {
	w := fake(t)
	b := w.backend(w.client(w.Token), "acme", 20*time.Second)
	ref := w.put(b)
	w.get(b, ref)
	before := len(w.Fake.Requests())
	w.advance(9 * time.Second)
	w.get(b, ref)
	if got := w.asked(before); len(got) > 0 {
		t.Errorf("it was asked again: %v", got)
	}
	w.advance(2 * time.Second) // in the second half of its time
	w.get(b, ref)
	until(t, "it is read again", func() bool { return len(w.asked(before)) == 1 })
	w.advance(9 * time.Second)
	until(t, "what was read again is younger", func() bool {
		_, err := b.Get(t.Context(), tenants["acme"], ref)
		return err == nil && len(w.asked(before)) == 1
	})
	w.Fake.Seal(true)
	w.advance(10 * time.Second)
	w.get(b, ref)
	w.advance(2 * time.Second)
	_, err := b.Get(t.Context(), tenants["acme"], ref)
	w.refused(err, "openbao.sealed")
	w.Fake.Seal(false)
	w.get(b, ref)
}

// What was destroyed, there or here, is not given because somebody remembers it.
func TestWhatIsGoneIsNotRemembered(t *testing.T) {
	w := fake(t)
	b := w.backend(w.client(w.Token), "acme", 20*time.Second)
	here, there := w.put(b), w.put(b)
	w.get(b, here)
	w.get(b, there)
	if err := b.Destroy(t.Context(), tenants["acme"], here); err != nil {
		t.Fatal(err)
	}
	_, err := b.Get(t.Context(), tenants["acme"], here)
	w.refused(err, "openbao.gone")
	w.Must(t, http.MethodDelete, w.mount+"/data/bursar/acme/"+there, nil)
	w.advance(11 * time.Second) // it is given once more, and looked for
	w.get(b, there)
	until(t, "it is forgotten", func() bool { return b.Cached() == 0 })
	_, err = b.Get(t.Context(), tenants["acme"], there)
	w.refused(err, "openbao.gone")
}

// A value does not stay in memory because nobody asks for it.
func TestAValueIsForgottenByItself(t *testing.T) {
	w := fake(t)
	b := w.backend(w.client(w.Token), "acme", 10*time.Millisecond)
	w.get(b, w.put(b))
	until(t, "it is forgotten", func() bool { return b.Cached() == 0 })
}
