package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
)

// leaves calls each with every field below v, and what a field holds may be set.
func leaves(path string, v reflect.Value, each func(path string, v reflect.Value)) {
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[netip.Addr]() {
		each(path, v)
		return
	}
	for i := range v.NumField() {
		leaves(path+"."+v.Type().Field(i).Name, v.Field(i), each)
	}
}

// distinct sets v to something that no limit touches and no other n gives.
func distinct(t *testing.T, v reflect.Value, n int) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%032x", n)) // may be a trace id, too
	case reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			leaves("", v.Index(i), func(_ string, v reflect.Value) { distinct(t, v, 1000*(i+1)+n) })
		}
	case reflect.Struct:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})))
	default:
		t.Fatalf("a field is a %s", v.Type())
	}
}

// A field that nobody taught the encoder, or that it writes under another name or in another place, fails here.
func TestEveryFieldIsWrittenAsEncodingJSONWouldWriteIt(t *testing.T) {
	bare := audit.Body{Outcome: audit.Denied, Request: audit.Request{Node: "r1"}}
	bodies, full := map[string]audit.Body{"": bare}, bare
	n := 0
	leaves("Body", reflect.ValueOf(&full).Elem(), func(path string, v reflect.Value) {
		if path == "Body.Outcome" || path == "Body.Request.Node" {
			return
		}
		n++
		distinct(t, v, n)
		alone := bare
		leaves("Body", reflect.ValueOf(&alone).Elem(), func(other string, v reflect.Value) {
			if other == path {
				distinct(t, v, n)
			}
		})
		bodies[path] = alone
	})
	bodies["all fields"] = full
	l := audit.New(audit.Config{Store: &memory{}, Master: master, Node: "r1"})
	for path, body := range bodies {
		if err := appendOnly(l, origin, audit.Event{Name: audit.TokenExchange, Agent: "ap-bot", Body: body}); err != nil {
			t.Fatal(err)
		}
		page, err := l.Read(t.Context(), origin.Tenant, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Events map[string]json.RawMessage }
		if err := json.Unmarshal(page[0].Claims, &got); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		want, err := json.Marshal(struct {
			Agent string `json:"agent,omitempty"`
			audit.Body
		}{"ap-bot", body})
		if err != nil {
			t.Fatal(err)
		}
		if written := got.Events["urn:bursar:event:token.exchange:v1"]; !bytes.Equal(written, want) {
			t.Errorf("%s: written as\n%s, want\n%s", path, written, want)
		}
	}
}

func TestAStringIsWrittenAsEncodingJSONWouldWriteIt(t *testing.T) {
	l := audit.New(audit.Config{Store: &memory{}, Master: master, Node: "r1"})
	for _, text := range []string{"", "a", `"`, `\`, "<&>'`", "é", "\U0001F600", "~\x7f", "a b"} {
		e := event("a")
		e.Body.ClientID = text
		if err := appendOnly(l, origin, e); err != nil {
			t.Fatal(err)
		}
		page, err := l.Read(t.Context(), origin.Tenant, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(parse(t, page[0]).Body.ClientID); err != nil {
			t.Fatal(err)
		}
		if member := []byte(`"client_id":` + string(bytes.TrimSpace(want.Bytes()))); text != "" &&
			!bytes.Contains(page[0].Claims, member) {
			t.Errorf("%q is not written as %s: %s", text, member, page[0].Claims)
		}
	}
}
