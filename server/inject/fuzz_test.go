package inject_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// FuzzJSON puts a value into whatever text at whatever pointer. What is accepted is the text with that one value set,
// as another reader of JSON sees it.
func FuzzJSON(f *testing.F) {
	f.Add(`{"auth":{"key":"mine"},"n":1.0}`, "/auth/key", secret)
	f.Add(` { "a" : [ 1 , {"b":null} , -2e3 ] } `, "/a/1/b", `"\é`)
	f.Add(`{}`, "/a~1b/~0/", "x")
	f.Add(`{"":{"":1}}`, "//", "x")
	f.Add(`{"a":1,"A":2}`, "/a", "x")
	f.Add(`[[],[]]`, "/1/0", "x")
	f.Fuzz(func(t *testing.T, body, pointer, value string) {
		target := &inject.Target{Body: []byte(body),
			Request: &http.Request{Header: http.Header{"Content-Type": {"application/json"}}}}
		_, err := inject.New().Apply(t.Context(), target, tools.Injection{In: "json", Name: pointer}, version(1),
			vault.NewValue(map[string]string{vault.Plain: value}))
		if err != nil {
			if string(target.Body) != body {
				t.Errorf("refused and changed: %v", err)
			}
			return
		}
		want, got := read(t, body), read(t, string(target.Body))
		var at []string
		for token := range strings.SplitSeq(pointer[1:], "/") {
			at = append(at, strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
		}
		if want = set(want, at, value); !reflect.DeepEqual(got, want) {
			t.Errorf("%s at %s of\n%s\nbecame\n%s", value, pointer, body, target.Body)
		}
	})
}

func read(t *testing.T, text string) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v of %s", err, text)
	}
	return v
}

// set sets a place of a decoded document.
func set(doc any, at []string, value string) any {
	if len(at) == 0 {
		return value
	}
	switch d := doc.(type) {
	case map[string]any:
		d[at[0]] = set(d[at[0]], at[1:], value)
		return d
	case []any:
		i, _ := strconv.Atoi(at[0])
		d[i] = set(d[i], at[1:], value)
		return d
	}
	return map[string]any{at[0]: set(nil, at[1:], value)}
}

// FuzzQuery puts a parameter into whatever query. It is there once, and last, for every reader.
func FuzzQuery(f *testing.F) {
	f.Add("a=1&api_key=mine&b", "api_key", secret)
	f.Add("%61pi_key=x&&=&", "api_key", "é&=+")
	f.Fuzz(func(t *testing.T, raw, name, value string) {
		out := &http.Request{URL: &url.URL{RawQuery: raw}}
		_, err := inject.New().Apply(t.Context(), &inject.Target{Request: out}, tools.Injection{In: "query", Name: name},
			version(1), vault.NewValue(map[string]string{vault.Plain: value}))
		if err != nil {
			if out.URL.RawQuery != raw {
				t.Errorf("refused and changed: %v", err)
			}
			return
		}
		last := out.URL.RawQuery[strings.LastIndexByte(out.URL.RawQuery, '&')+1:]
		key, text, _ := strings.Cut(last, "=")
		key, _ = url.QueryUnescape(key)
		text, _ = url.QueryUnescape(text)
		all, _ := url.ParseQuery(out.URL.RawQuery)
		if key != name || text != value || len(all[name]) != 1 {
			t.Errorf("%s with %s=%s became %s", raw, name, value, out.URL.RawQuery)
		}
	})
}
